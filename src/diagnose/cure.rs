//! Cures, filled in with the question's own names. They are copied into a shell or a program, and an interface's
//! name may hold any byte but `/`, `:` and white space.

use super::facts::Facts;
use super::host::Pair;
use super::question::Named;

impl Facts {
    /// A cure with the words in braces replaced.
    pub fn fill_in(&self, cure: &str) -> String {
        let mut text = String::with_capacity(cure.len() * 2);
        let mut rest = cure;
        while let Some((before, (name, behind))) =
            rest.split_once('{').and_then(|(before, after)| Some((before, after.split_once('}')?)))
        {
            text.push_str(before);
            text.push_str(&self.word(name));
            rest = behind;
        }
        text + rest
    }

    /// What stands for a word in braces.
    fn word(&self, name: &str) -> String {
        let question = &self.question;
        let by_family = |v4: &str, v6: &str| if question.group.is_ipv4() { v4 } else { v6 }.to_owned();
        let is_off = |pair: Option<Pair>, family: &str, name: &str| {
            pair.unwrap_or_default().switched_off(family, self.interface(), name)
        };
        match name {
            "group" => question.group.to_string(),
            "port" if self.port() == 0 => "PORT".to_owned(),
            "port" => self.port().to_string(),
            "peer_port" => self.peer.map_or("PORT".to_owned(), |peer| peer.port().to_string()),
            "source" => {
                let source = question.source.or(self.way_back.map(|(source, _)| source));
                source.map_or("SOURCE".to_owned(), |source| source.to_string())
            }
            "domain" => by_family("AF_INET", "AF_INET6"),
            "wildcard" => by_family("0.0.0.0", "::"),
            "ssm" => by_family("232.0.0.0/8", "ff3x::/32"),
            "source_limit" => by_family("net.ipv4.igmp_max_msf", "net.ipv6.mld_max_msf"),
            "forced_version" if question.group.is_ipv4() => is_off(self.forced_version, "ipv4", "force_igmp_version"),
            "forced_version" => is_off(self.forced_version, "ipv6", "force_mld_version"),
            "rp_filter" => is_off(self.rp_filter, "ipv4", "rp_filter"),
            "disable_ipv6" => is_off(Some(Pair { all: 0, own: 1 }), "ipv6", "disable_ipv6"),
            "bridge" => shell(self.bridge.as_ref().map_or("BRIDGE", |(name, _)| name)),
            "master" => c_string(self.link_of(self.master).map_or("INTERFACE", |link| &link.name)),
            "group_network" => by_family("224.0.0.0/4", "multicast ff00::/8 table local"),
            "protocol" => by_family("IPv4", "IPv6"),
            "interface" => shell(self.interface()),
            "c_interface" => c_string(self.interface()),
            _ => String::new(),
        }
    }

    /// The interface in question, by its name.
    fn interface(&self) -> &str {
        match (&self.question.named, &self.link) {
            (Named::Missing(name), _) => name,
            (_, Some(link)) => &link.name,
            _ => "INTERFACE",
        }
    }
}

/// A word for sh(1): as it is, or in quotes.
pub fn shell(word: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.,:=/@%+".contains(&byte);
    if !word.is_empty() && word.bytes().all(is_plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

/// A string of C, with its quotes.
pub fn c_string(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', r"\\").replace('"', r#"\""#))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shell_reads_back_what_was_quoted() {
        for word in ["eth0", "eth0.7", "a b", "$(reboot)", "a;b", "it's", "\"", "`x`", "", "-n", "é", "a\\b", "{group}"]
        {
            let quoted = shell(word);
            let output = std::process::Command::new("sh").args(["-c", &format!("printf '[%s]' {quoted}")]).output();
            assert_eq!(String::from_utf8(output.unwrap().stdout).unwrap(), format!("[{word}]"), "{quoted}");
        }
        assert_eq!(shell("net.ipv4.conf.eth0/7.rp_filter=0"), "net.ipv4.conf.eth0/7.rp_filter=0");
    }

    #[test]
    fn a_string_of_c_ends_where_it_should() {
        assert_eq!(c_string("eth0"), r#""eth0""#);
        assert_eq!(c_string(r#"a"b\"#), r#""a\"b\\""#);
    }
}
