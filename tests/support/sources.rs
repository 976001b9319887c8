//! A host that listens to one group and three that send to it: who is heard?

use std::ffi::c_int;

use castio::Errno;

use super::face::{FORMS, Form, JOIN, LEAVE, Outcome, SourceCall};
use super::hosts::{Host, Network};
use super::udp::{FAMILIES, Family, Udp};

/// A host that listens, and three senders on its LAN: sources 1, 2 and 3.
pub struct Lan {
    pub senders: [Host; 3],
    pub host: Host,
}

impl Lan {
    pub fn new(network: &Network) -> Lan {
        let [a, b, c, host] = network.lan();
        Lan { senders: [a, b, c], host }
    }

    pub fn listener(&self, family: Family, form: Form) -> Listener<'_> {
        let socket = self.host.run(|| Udp::receiver(family));
        let senders = self.senders.each_ref().map(|host| host.run(|| Udp::new(family)));
        Listener { host: &self.host, socket, senders, family, form, group: family.group(1) }
    }

    /// One for each family and form of the face.
    pub fn each(&self, test: impl Fn(Listener<'_>)) {
        for (family, form) in FAMILIES.into_iter().flat_map(|family| FORMS.map(|form| (family, form))) {
            test(self.listener(family, form));
        }
    }
}

/// A socket with one group, and those who send to it.
pub struct Listener<'lan> {
    pub host: &'lan Host,
    pub socket: Udp,
    pub senders: [Udp; 3],
    pub family: Family,
    pub form: Form,
    pub group: String,
}

impl Listener<'_> {
    pub fn join(&self) -> Outcome {
        self.host.run(|| self.form.group(JOIN, &self.socket, &self.group, Some("eth0")))
    }

    pub fn leave(&self) -> Outcome {
        self.host.run(|| self.form.group(LEAVE, &self.socket, &self.group, Some("eth0")))
    }

    /// One of the source calls, about a host of the LAN.
    pub fn source(&self, call: SourceCall, number: usize) -> Outcome {
        let source = self.family.host(number);
        self.host.run(|| self.form.source(call, &self.socket, &self.group, &source, Some("eth0")))
    }

    pub fn addresses(&self, numbers: &[usize]) -> Vec<String> {
        numbers.iter().map(|&number| self.family.host(number)).collect()
    }

    pub fn set_filter(&self, mode: c_int, numbers: &[usize]) -> Outcome {
        let sources = self.addresses(numbers);
        self.host.run(|| self.form.set_filter(&self.socket, &self.group, Some("eth0"), mode, &sources))
    }

    pub fn filter(&self) -> Result<(c_int, Vec<String>), Errno> {
        let (mode, mut sources, count) =
            self.host.run(|| self.form.filter(&self.socket, &self.group, Some("eth0"), 100))?;
        assert_eq!(count, sources.len());
        sources.sort();
        Ok((mode, sources))
    }

    /// The sources that are heard when all three send to the group.
    pub fn hears(&self) -> Vec<usize> {
        let mut heard = Vec::new();
        for (number, sender) in self.senders.iter().enumerate() {
            sender.send(&(number + 1).to_string(), &self.group);
            sender.end(&self.family.host(4));
            heard.extend(self.socket.texts().into_iter().map(|text| text.parse::<usize>().unwrap()));
        }
        heard
    }
}

/// How many sources a socket takes for one group.
pub fn limit(family: Family) -> usize {
    if family == Family::V4 { 10 } else { 64 }
}
