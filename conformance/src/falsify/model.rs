//! What a lie did to a claim, and the score of all lies.

#![forbid(unsafe_code)]

use crate::interpose::lie::Lie;
use crate::verdict::Word;
use serde::Deserialize;
use serde::Serialize;
use std::iter::Sum;
use std::sync::LazyLock;
/// The kind of a lie, for one claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// It makes the opposite of the claim's verdict appear true.
    Contradicting,
    /// It changes something about the calls that the claim is about.
    Blunt,
    /// It changes them in a way that the interface allows.
    Tolerable,
    /// It is not about the kernel behaviour of the claim: a call of the experiment's own helpers fails, or does not do what it
    /// reports.
    SetUp,
}

/// The effect of a lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Effect {
    /// The verdict is the opposite.
    Turned,
    /// The claim is untestable, and has a reason.
    Untestable,
    /// The verdict is the same, but an observed fact differs.
    Seen,
    /// The experiment stopped with a message about it (`broken`).
    Stopped,
    /// The experiment did not end.
    TimedOut,
    /// Everything is as without the lie.
    Unnoticed,
    /// The lie found nothing to change.
    NotTold,
}

/// A lie and its effect.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trial {
    /// The lie.
    pub lie: Lie,
    /// Its kind.
    pub kind: Kind,
    /// Its effect.
    pub effect: Effect,
    /// The message of an experiment that stopped or could not be tried.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub said: Option<String>,
    /// Whether the claim has an exception for it.
    pub excepted: bool,
}

/// A claim and all lies that were applied to it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Examined {
    /// The claim.
    pub id: String,
    /// The verdict without lies.
    pub verdict: Word,
    /// Why it has no verdict, or the error in the runs without lies.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub why: Option<String>,
    /// Whether controls replace the lies.
    pub controls: bool,
    /// Whether it is refuted, and the kernel lacks a feature that no lie can supply.
    #[serde(default)]
    pub lacking: bool,
    /// The lies and their effects.
    pub trials: Vec<Trial>,
}

/// A count out of a total.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Share {
    /// Those that are as they should be.
    pub good: usize,
    /// All of them.
    pub all: usize,
}

/// The score of a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Score {
    /// Claims that a contradicting lie has turned, out of those that could be tried.
    pub falsifiable: Share,
    /// Contradicting lies that turned the verdict.
    pub contradicting: Share,
    /// Blunt lies that were noticed.
    pub blunt: Share,
    /// Tolerable lies that did not change the verdict.
    pub tolerable: Share,
    /// Lies about set-up that did not turn the verdict.
    #[serde(default)]
    pub set_up: Share,
}

/// How many lies are applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// Every lie that applies.
    Whole,
    /// The same, but every third lie about set-up: an emulated guest has less time, and most helpers are shared with other claims.
    Guest,
    /// All contradicting lies, this many of the derived lies per claim, and a sixth as many about set-up. The sample is the same
    /// every time. Lies that are [listed](Listed) are all applied.
    Sampled(usize),
}

/// A claim that lies about one call of its set-up turn, and why that is accepted: `fixtures/falsify/turned.toml`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Listed {
    /// The claim.
    pub claim: String,
    /// The call.
    pub call: String,
    /// Whether it is made aside.
    #[serde(default)]
    pub aside: bool,
    /// Why the effect of the call cannot be distinguished from the behaviour of the kernel.
    pub because: String,
}

/// The most claims that may be listed. The list may only become shorter.
pub const MOST_LISTED: usize = 1;

/// The claims that lies about their set-up turn.
pub fn listed() -> &'static [Listed] {
    #[derive(Deserialize)]
    struct File {
        #[serde(default)]
        turned: Vec<Listed>,
    }
    const FIXTURE: &str = include_str!("../../../fixtures/falsify/turned.toml");
    static LISTED: LazyLock<Vec<Listed>> = LazyLock::new(|| {
        let file: File = toml::from_str(FIXTURE).expect("fixtures/falsify/turned.toml is valid");
        file.turned
    });
    &LISTED
}

impl Listed {
    /// Whether the entry is about this lie.
    pub fn covers(&self, claim: &str, lie: &Lie) -> bool {
        self.claim == claim && self.call == lie.call.name() && self.aside == lie.aside
    }
}

impl Trial {
    /// Whether its effect is the one that its kind demands.
    pub fn is_good(&self) -> bool {
        match (self.kind, self.effect) {
            (_, Effect::NotTold) => true,
            (Kind::Contradicting, effect) => effect == Effect::Turned,
            (Kind::Blunt, effect) => effect != Effect::Unnoticed,
            (Kind::Tolerable, effect) => matches!(effect, Effect::Unnoticed | Effect::Seen),
            (Kind::SetUp, effect) => effect != Effect::Turned,
        }
    }

    /// Whether it counts in the score.
    fn counts(&self) -> bool {
        self.effect != Effect::NotTold && !self.excepted
    }
}

impl Examined {
    /// Whether it has a verdict that a lie could turn.
    pub fn was_tried(&self) -> bool {
        matches!(self.verdict, Word::Holds | Word::Refuted)
    }

    /// Whether its verdict can be turned. One of these is true:
    ///
    /// - A contradicting lie has turned it.
    /// - Its own controls replace the lies.
    /// - It is refuted, and the kernel lacks a feature that no lie can supply.
    pub fn is_falsifiable(&self) -> bool {
        let turned = |trial: &Trial| trial.kind == Kind::Contradicting && trial.effect == Effect::Turned;
        self.controls || self.lacking || self.trials.iter().any(turned)
    }

    /// How many lies of a kind had the effect that they should have.
    pub fn share(&self, kind: Kind) -> Share {
        let told = self.trials.iter().filter(|trial| trial.kind == kind && trial.counts());
        told.map(Trial::is_good).collect()
    }

    /// Listed entries of the claim that no lie has turned: the list has to become shorter. If the claim was not tried or the lies
    /// were not applied, nothing is known.
    pub fn stale(&self) -> Vec<&'static Listed> {
        let told = |one: &&Listed| {
            let of_it =
                self.trials.iter().filter(|trial| trial.kind == Kind::SetUp && one.covers(&self.id, &trial.lie));
            of_it
                .clone()
                .any(|trial| trial.effect != Effect::NotTold)
                .then(|| of_it.clone().all(|trial| trial.effect != Effect::Turned))
        };
        let of_claim = listed().iter().filter(|one| one.claim == self.id);
        of_claim.filter(|one| self.was_tried() && told(one) == Some(true)).collect()
    }

    /// Why it is red, in one clause each.
    pub fn red(&self) -> Vec<String> {
        let mut reasons = Vec::new();
        if self.verdict.is_failure() {
            let why = self.why.as_deref().unwrap_or_default();
            reasons.push(format!("without a lie: {} {why}", self.verdict.text()));
        } else if let Some(why) = &self.why
            && self.was_tried()
            && !self.controls
        {
            reasons.push(format!("without a lie: {why}"));
        }
        if self.was_tried() && !self.is_falsifiable() {
            reasons.push("unfalsifiable: no contradicting lie turns it".into());
        }
        let bad = self.trials.iter().filter(|trial| trial.counts() && !trial.is_good());
        reasons.extend(bad.map(|trial| {
            let said = trial.said.as_deref().map(|said| format!(": {said}")).unwrap_or_default();
            format!("{:?} lie {:?}: {}{said}", trial.kind, trial.effect, trial.lie)
        }));
        reasons
    }
}

/// The score of the examined claims.
pub fn score(examined: &[Examined]) -> Score {
    let tried = || examined.iter().filter(|claim| claim.was_tried());
    let of_kind = |kind| tried().map(|claim| claim.share(kind)).sum();
    Score {
        falsifiable: tried().map(Examined::is_falsifiable).collect(),
        contradicting: of_kind(Kind::Contradicting),
        blunt: of_kind(Kind::Blunt),
        tolerable: of_kind(Kind::Tolerable),
        set_up: of_kind(Kind::SetUp),
    }
}

impl FromIterator<bool> for Share {
    fn from_iter<T: IntoIterator<Item = bool>>(goods: T) -> Self {
        goods
            .into_iter()
            .fold(Self::default(), |share, good| Self { good: share.good + usize::from(good), all: share.all + 1 })
    }
}

impl Sum for Share {
    fn sum<T: Iterator<Item = Self>>(shares: T) -> Self {
        shares.fold(Self::default(), |sum, share| Self { good: sum.good + share.good, all: sum.all + share.all })
    }
}
