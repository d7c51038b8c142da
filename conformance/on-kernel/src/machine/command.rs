//! The command lines of QEMU and of User-mode Linux.

use crate::job::PORT;
use crate::machine::description::{Accelerator, Machine};
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The emulator, from Debian's package `qemu-system-x86`.
pub const QEMU: &str = "qemu-system-x86_64";

/// The command line of every kernel. It does not change the behaviour that claims are about: it speeds up the start, and ends the
/// guest after a panic.
const COMMAND_LINE: &str = "console=ttyS0 quiet loglevel=4 panic=-1 reboot=t mitigations=off nokaslr audit=0 apparmor=0 \
                            selinux=0 no_timer_check random.trust_cpu=on cryptomgr.notests=1";

/// The names by which QEMU finds the initramfs and the ports.
pub struct Ends {
    /// The path of the initramfs.
    pub archive: String,
    /// The path of the console's pipe.
    pub console: String,
    /// The path of the second serial port's pipe.
    pub serial: String,
    /// The number of the virtio port's socket.
    pub port: String,
}

/// QEMU with this machine.
pub fn qemu(machine: &Machine<'_>, ends: &Ends, disks: &[(String, PathBuf)]) -> Command {
    let cpu = match machine.accelerator {
        Accelerator::Tcg | Accelerator::UserMode => ["-accel", "tcg,thread=multi", "-cpu", "max"],
        Accelerator::Kvm => ["-accel", "kvm", "-cpu", "host"],
    };
    let mut qemu = Command::new(QEMU);
    qemu.args(["-nodefaults", "-no-user-config", "-no-reboot"])
        .args(["-display", "none", "-M", "pc", "-smp", "1"])
        .args(cpu)
        .args(["-m", &machine.memory.to_string()])
        .arg("-kernel")
        .arg(&machine.image.boot)
        .args(["-initrd", &ends.archive])
        .args(["-append", &format!("{COMMAND_LINE} {}", machine.append)])
        .args(["-device", "isa-debug-exit,iobase=0xf4,iosize=1"]);
    if machine.job.interactive {
        qemu.args(["-serial", "stdio"]);
    } else {
        let console = format!("file,id=console,path={}", ends.console);
        qemu.args(["-chardev", &console, "-serial", "chardev:console"]);
    }
    let serial = format!("file,id=results,path={}", ends.serial);
    qemu.args(["-chardev", &serial, "-serial", "chardev:results"]);
    let port = format!("socket,id=port,fd={}", ends.port);
    qemu.args(["-chardev", &port, "-device", "virtio-serial-pci"])
        .args([
            "-device",
            &format!("virtserialport,chardev=port,name={PORT}"),
        ]);
    if machine.modules.contains("vmxnet3") {
        // Two cards on a separate hub, without access to the host's network.
        for id in ["1", "2"] {
            let card = format!("vmxnet3,netdev=card{id},mac=52:54:00:00:00:0{id}");
            qemu.args(["-netdev", &format!("hubport,id=card{id},hubid=0")])
                .args(["-device", &card]);
        }
    }
    for (name, image) in disks {
        // The guest finds a disk by its serial number, which is the file system's name.
        let image = image.display();
        let drive = format!("file={image},format=raw,if=none,id={name},snapshot=on");
        qemu.args(["-drive", &drive])
            .args(["-device", &format!("nvme,serial={name},drive={name}")]);
    }
    qemu
}

/// User-mode Linux: its consoles and ports are inherited descriptors; its memory is a file without a name.
pub fn user_mode(
    machine: &Machine<'_>,
    ends: &Ends,
    [console, serial]: [libc::c_int; 2],
    home: &Path,
) -> Command {
    let mut linux = Command::new(&machine.image.boot);
    linux
        .arg(format!("mem={}M", machine.memory))
        .arg(format!("initrd={}", ends.archive))
        .arg(format!("uml_dir={}", home.display()))
        .args(["con=null".to_owned(), format!("con0=null,fd:{console}")])
        .args(["ssl=null".to_owned(), format!("ssl1=null,fd:{serial}")])
        .args(["quiet", "loglevel=4", "panic=-1", "audit=0", "apparmor=0"])
        .args(["selinux=0", "root=/dev/ram0"])
        .args(machine.append.split_whitespace());
    linux
}

impl Machine<'_> {
    /// The emulator's command line, with words in place of the descriptors that it inherits.
    pub fn command_line(&self) -> String {
        let ends = Ends {
            archive: "INITRAMFS".into(),
            console: "CONSOLE".into(),
            serial: "SERIAL".into(),
            port: "SOCKET".into(),
        };
        let disks = self
            .disks()
            .iter()
            .map(|name| (name.clone(), PathBuf::from(format!("{name}.img"))));
        let command = if self.image.user_mode {
            user_mode(self, &ends, [0, 1], Path::new("DIRECTORY"))
        } else {
            qemu(self, &ends, &disks.collect::<Vec<_>>())
        };
        let quoted = |word: &OsStr| {
            let word = word.to_string_lossy();
            if word.contains(' ') {
                format!("'{word}'")
            } else {
                word.into_owned()
            }
        };
        let words = std::iter::once(command.get_program()).chain(command.get_args());
        words.map(quoted).collect::<Vec<_>>().join(" ")
    }
}
