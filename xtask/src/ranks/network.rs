//! Machines on one machine: network namespaces on a bridge, each with an address of its own.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use tempfile::TempDir;

use super::job::Job;

/// Number of namespaces.
pub const HOSTS: usize = 3;

const BRIDGE: &str = "ranks-br";
const NET: &str = "10.77.0";

/// The namespaces, which are gone when it is dropped.
pub struct Network {
    /// Holds the script by which `mpirun` enters a namespace, as it would enter a machine by ssh.
    directory: TempDir,
}

impl Network {
    /// Creates them, or says what is missing.
    pub fn create() -> io::Result<Result<Self, String>> {
        let directory = tempfile::tempdir()?;
        let agent = directory.path().join("agent");
        // A machine has a name and a directory for temporary files of its own, or daemons of the launcher
        // take each other's.
        let script = "#!/bin/sh\n\
            name=ranks-${1##*.}; shift\n\
            TMPDIR=${0%/*}/$name; export TMPDIR; mkdir -p \"$TMPDIR\"\n\
            exec ip netns exec \"$name\" unshare --uts sh -c \"hostname $name; $*\"\n";
        fs::write(&agent, script)?;
        fs::set_permissions(&agent, fs::Permissions::from_mode(0o755))?;
        let network = Self { directory };
        let mut made = ip(&format!("link add {BRIDGE} type bridge"))
            && ip(&format!("addr add {NET}.254/24 dev {BRIDGE}"))
            && ip(&format!("link set {BRIDGE} up"));
        for host in 1..=HOSTS {
            made = made
                && ip(&format!("netns add ranks-{host}"))
                && ip(&format!("link add ranks-v{host} type veth peer eth0 netns ranks-{host}"))
                && ip(&format!("link set ranks-v{host} master {BRIDGE} up"))
                && ip(&format!("-n ranks-{host} addr add {NET}.{host}/24 dev eth0"))
                && ip(&format!("-n ranks-{host} link set eth0 up"))
                && ip(&format!("-n ranks-{host} link set lo up"));
        }
        let missing =
            || "needs `ip` and `unshare`, and the right to make network namespaces".to_owned();
        Ok(if made { Ok(network) } else { Err(missing()) })
    }

    /// A job with a rank in each of them.
    pub fn job(&self) -> Job {
        let hosts: Vec<_> = (1..=HOSTS).map(|host| format!("{NET}.{host}")).collect();
        let (agent, net) = (self.directory.path().join("agent"), format!("{NET}.0/24"));
        Job::on(HOSTS).with([
            "-host",
            &hosts.join(","),
            "--mca",
            "plm_rsh_agent",
            &agent.display().to_string(),
            "--mca",
            "oob_tcp_if_include",
            &net,
            "--mca",
            "btl",
            "tcp,self",
            "--mca",
            "btl_tcp_if_include",
            &net,
        ])
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        for host in 1..=HOSTS {
            ip(&format!("netns del ranks-{host}"));
        }
        ip(&format!("link del {BRIDGE}"));
    }
}

/// Whether a command of iproute2 does what it is to do.
fn ip(words: &str) -> bool {
    Command::new("ip").args(words.split(' ')).output().is_ok_and(|output| output.status.success())
}
