//! The benchmark: the ways of sending, timed against each other.
//!
//! A [`Plan`](plan::Plan) lists what is compared. Every round makes one [trial] of each [`Contender`](plan::Contender). The order
//! changes from round to round, so that a disturbance of the machine affects all of them. Each contender is compared with the
//! first one, round by round: the result is the median of the [ratios](stats::ratio), with its interval. One contender is
//! measured twice, and the difference between its two series is the noise. If the noise is too large, nothing is decided. Times
//! do not show whether a result is right, so no test checks them.

pub mod compare;
pub mod memory;
pub mod peers;
pub mod plan;
pub mod plans;
pub mod plots;
pub mod relays;
pub mod report;
pub mod run;
mod servers;
pub mod stats;
pub mod trial;
