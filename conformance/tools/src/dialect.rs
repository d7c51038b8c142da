//! Phrases that a reader has to read twice, counted by sentence.
//!
//! The list is of phrases that this project's authors overuse. It finds them in text for readers: pages, doc comments, help.

/// Phrases, word by word. A word that ends in a comma stands before a comma.
const PHRASES: &[&str] = &[
    "of which",
    "to whom",
    "to who",
    "whom",
    "whoever",
    "behind",
    "that there is",
    "nobody",
    "somebody",
    "is none",
    "are none",
    "what comes of",
    "what came of",
    "comes of",
    "came of",
    "becomes of",
    "became of",
    "besides",
    "is told",
    "are told",
    "tells of",
    "goes on",
    "otherwise",
    "of its own",
    "its own",
    "as far as",
    "so many",
    "so much",
    "brings",
    "may not",
    "neither.",
    "upon",
    "lest",
];

/// Verbs after which a clause that begins with `who` has no noun: "who reads it".
const WHO: &[&str] = &[
    "is", "has", "reads", "can", "looks", "takes", "syncs", "only", "drops", "leaves", "wants",
    "needs",
];

/// What is counted of a text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    /// Sentences of at least four words.
    pub sentences: usize,
    /// Those with a phrase.
    pub flagged: usize,
}

impl Count {
    /// The flagged sentences, in percent.
    #[expect(clippy::cast_precision_loss, reason = "there are few sentences")]
    pub fn percent(self) -> f64 {
        100.0 * self.flagged as f64 / self.sentences.max(1) as f64
    }

    /// Adds the sentences of a text, and calls `found` with each that is flagged and its phrase.
    pub fn add(&mut self, text: &str, mut found: impl FnMut(&str, &str)) {
        for sentence in sentences(text) {
            self.sentences += 1;
            if let Some(phrase) = phrase_of(sentence) {
                self.flagged += 1;
                found(sentence, phrase);
            }
        }
    }
}

/// The sentences of a text that have at least four words.
fn sentences(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    let all = std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let ends = rest.char_indices().find(|(at, mark)| {
            ".:;?!".contains(*mark) && rest[at + 1..].starts_with(char::is_whitespace)
        });
        let end = ends.map_or(rest.len(), |(at, _)| at + 1);
        let (sentence, more) = rest.split_at(end);
        rest = more.trim_start();
        Some(sentence.trim())
    });
    all.filter(|sentence| sentence.split_whitespace().count() >= 4)
}

fn phrase_of(sentence: &str) -> Option<&'static str> {
    let lower = sentence.to_lowercase();
    let words: Vec<&str> = lower.split_whitespace().collect();
    let bare = |word: &str| {
        word.trim_matches(|mark: char| !mark.is_alphanumeric() && mark != '.')
            .trim_end_matches('.')
            .to_owned()
    };
    let plain: Vec<String> = words.iter().map(|word| bare(word)).collect();
    let starts_clause = |at: usize| at == 0 || words[at - 1].ends_with([',', '(', ':', ';', '.']);
    let who = plain
        .windows(2)
        .enumerate()
        .any(|(at, pair)| starts_clause(at) && pair[0] == "who" && WHO.contains(&pair[1].as_str()));
    if who {
        return Some("who ..");
    }
    PHRASES.iter().copied().find(|phrase| {
        let length = phrase.split(' ').count();
        plain.windows(length).enumerate().any(|(at, window)| {
            let said = phrase.trim_end_matches('.').split(' ');
            said.eq(window.iter().map(String::as_str))
                && (!phrase.ends_with('.') || words[at + length - 1].ends_with('.'))
        })
    })
}

/// The prose of a Markdown page: no code, no tables, no comments.
pub fn prose(page: &str) -> String {
    let mut text = String::new();
    let mut in_code = false;
    for line in page.lines() {
        if line.starts_with("```") {
            in_code = !in_code;
        } else if !in_code && !line.starts_with('|') && !line.starts_with("<!--") {
            // A list item or a heading is not the continuation of what stands above it.
            let starts = line.starts_with(['-', '#']) || line.is_empty();
            text.push_str(if starts { ". " } else { " " });
            text.push_str(line.trim_start_matches(['-', '#', ' ']));
        }
    }
    text
}

/// The string literals of a source that are sentences: they have a space and end with a full stop.
pub fn literals(source: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut letters = source.chars();
    while letters.any(|letter| letter == '"') {
        let mut literal = String::new();
        while let Some(letter) = letters.next().filter(|letter| *letter != '"') {
            match letter {
                '\\' => literal.extend(letters.next().filter(|next| *next == '"')),
                '\n' => literal.push(' '),
                letter => literal.push(letter),
            }
        }
        if literal.contains(' ') && literal.ends_with('.') {
            found.push(literal.split_whitespace().collect::<Vec<_>>().join(" "));
        }
    }
    found
}

/// The doc comments of a source, each as one text.
pub fn doc_comments(source: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut open = String::new();
    for line in source.lines() {
        let line = line.trim_start();
        let comment = line
            .strip_prefix("///")
            .or_else(|| line.strip_prefix("//!"));
        match comment {
            Some(text) => {
                open.push_str(text);
                open.push(' ');
            }
            None if !open.is_empty() => found.push(std::mem::take(&mut open)),
            None => {}
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn phrases(text: &str) -> Vec<String> {
        let mut found = Vec::new();
        Count::default().add(text, |_, phrase| found.push(phrase.to_owned()));
        found
    }

    #[test]
    fn sentences_in_literals() {
        let source = "claim(\"a.b.c\", \"It \\\"is\\\" so.\")\n.method(\n    \"Tries \\\n    it.\",\n); x(\"No stop\")";
        assert_eq!(literals(source), ["It \"is\" so.", "Tries it."]);
    }

    #[test]
    fn phrases_are_found_and_plain_sentences_are_not() {
        assert_eq!(
            phrases("There are 67 statements, of which many are false."),
            ["of which"]
        );
        assert_eq!(
            phrases("For the replica, who reads it, nothing changes."),
            ["who .."]
        );
        assert_eq!(
            phrases("It goes on with the next; the server brings all of it."),
            ["goes on", "brings"]
        );
        assert_eq!(
            phrases("The kernel returns the errno of the call."),
            Vec::<String>::new()
        );
        assert_eq!(
            phrases("Nobody is there."),
            Vec::<String>::new(),
            "three words"
        );
    }

    #[test]
    fn code_and_tables_are_no_prose() {
        let page = "# A page\n\n```sh\nnobody goes on behind it\n```\n\n| nobody | goes on behind |\n\nPlain text stands here alone.\n";
        let mut count = Count::default();
        count.add(&prose(page), |_, _| {});
        assert_eq!((count.sentences, count.flagged), (1, 0));
    }

    #[test]
    fn doc_comments_are_read_whole() {
        let source = "//! One\n//! two.\n\nfn f() {} // not this\n/// Three.\nfn g() {}\n";
        assert_eq!(doc_comments(source), [" One  two. ", " Three. "]);
    }
}
