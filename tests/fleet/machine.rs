//! A machine is a network namespace, on a switch that all share.

use std::process::Command;

/// The machine of the test itself, of the senders, and of the proxy.
pub(crate) const HOME: &str = "10.0.0.1";

#[derive(Clone, Debug)]
pub(crate) struct Machine {
    name: String,
    pub(crate) address: String,
}

#[track_caller]
fn ip(arguments: &str) {
    let output = Command::new("ip").args(arguments.split(' ')).output().expect("the machine has ip");
    assert!(output.status.success(), "ip {arguments}: {}", String::from_utf8_lossy(&output.stderr));
}

/// Makes the switch, once.
pub(crate) fn switch_on() {
    ip("link add switch type bridge");
    // Otherwise it is that of a plug, and another one after each cut.
    ip("link set switch address 02:00:00:00:00:01");
    ip(&format!("address add {HOME}/24 dev switch"));
    ip("link set switch up");
}

impl Machine {
    pub(crate) fn new(name: &str, address: &str) -> Self {
        let machine = Self { name: name.to_owned(), address: address.to_owned() };
        ip(&format!("netns add {name}"));
        ip(&format!("link add to-{name} type veth peer name eth0 netns {name}"));
        ip(&format!("-n {name} link set lo up"));
        ip(&format!("-n {name} address add {address}/24 dev eth0"));
        ip(&format!("-n {name} link set eth0 up"));
        ip(&format!("link set to-{name} up"));
        machine.plug();
        machine
    }

    /// A program on it. The process is the program itself.
    pub(crate) fn command(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net=/run/netns/{}", self.name)).arg(program);
        command
    }

    /// The same for a shell whose `$0` is the program and `$@` its arguments.
    pub(crate) fn script(&self) -> String {
        format!(r#"exec nsenter --net=/run/netns/{} "$0" "$@""#, self.name)
    }

    /// Everything on the way is lost and nobody is told, as when a cable is pulled one switch further on. The same on
    /// every kernel, unlike tc-netem(8).
    pub(crate) fn unplug(&self) {
        ip(&format!("link set to-{} nomaster", self.name));
    }

    pub(crate) fn plug(&self) {
        ip(&format!("link set to-{} master switch", self.name));
    }
}
