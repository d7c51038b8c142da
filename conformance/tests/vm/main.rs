//! The commands about other kernels: what goes wrong is one clear message with the right exit status.
//!
//! What needs a guest uses the oldest kernel if it has been fetched; otherwise, or without QEMU, the test is ignored, with the
//! command that would provide it: it is not a pass. Most lies are told by an emulator of our own ([`fake`]), which needs neither.

#[cfg(feature = "vm")]
mod baseline;
#[cfg(feature = "vm")]
mod fake;
#[cfg(feature = "vm")]
mod guests;
#[cfg(feature = "vm")]
mod gvisor;
#[cfg(feature = "vm")]
mod host;
#[cfg(feature = "vm")]
mod killed;
#[cfg(feature = "vm")]
mod lies;
#[cfg(feature = "vm")]
mod own;
#[cfg(feature = "vm")]
mod support;
#[cfg(feature = "vm")]
mod uml;

fn main() {
    #[cfg(feature = "vm")]
    {
        if fake::is_asked_for() {
            fake::main();
        }
        if fake::is_manager() {
            return fake::manager_main();
        }
        let arguments = libtest_mimic::Arguments::from_args();
        let mut trials = host::trials();
        trials.extend(killed::trials());
        trials.extend(lies::trials());
        trials.extend(own::trials());
        trials.extend(baseline::trials());
        trials.extend(gvisor::trials());
        trials.extend(uml::trials());
        trials.extend(guests::trials());
        libtest_mimic::run(&arguments, trials).exit();
    }
}
