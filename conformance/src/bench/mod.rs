//! The benchmark: the ways of sending, timed against each other.
//!
//! A [`Plan`](plan::Plan) says what is compared. Every round has one [trial] of each [`Contender`](plan::Contender), in another order each time, so that what
//! disturbs the machine disturbs all. Each is compared with the first, round by round: the [ratio](stats::ratio) of each pair, its median and
//! interval. One is there twice; what it differs from itself is the noise, and where that is too wide nothing is decided. Times say
//! nothing about right or wrong, so no test looks at them.

pub mod peers;
pub mod plan;
pub mod plans;
pub mod plots;
pub mod report;
pub mod run;
pub mod stats;
pub mod trial;
