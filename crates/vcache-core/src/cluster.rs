//! Owns what a client of Redis Cluster must work out by itself: the slot of a key, and where a redirection points to.

use std::fmt;

/// The number of slots that the keys of a cluster are spread over.
pub const SLOTS: u16 = 16384;

/// The longest name of a host that the DNS has.
const HOST_BYTES: usize = 253;

/// The slot of a key, by the cluster's specification: CRC-16/XMODEM of the key, or of its part between the first `{` and the
/// next `}` where that is not empty.
pub fn slot(key: &[u8]) -> u16 {
    let tag = || {
        let start = key.iter().position(|byte| *byte == b'{')? + 1;
        let rest = key.get(start..)?;
        rest.get(..rest.iter().position(|byte| *byte == b'}')?).filter(|tag| !tag.is_empty())
    };
    crc16(tag().unwrap_or(key)) % SLOTS
}

/// Bit by bit: the 40 bytes of a key take some 0.2 µs, of a command's tens.
fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |crc, byte| {
        (0..8).fold(crc ^ (u16::from(*byte) << 8), |crc, _| (crc << 1) ^ if crc & 0x8000 == 0 { 0 } else { 0x1021 })
    })
}

/// What a node of a cluster answers when another is to be asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Redirect {
    /// For this one command, which says ASKING first; the slot is not moved yet.
    pub ask: bool,
    /// Of the command's key.
    pub slot: u16,
    /// Whom to ask.
    pub target: Target,
}

/// Where a node of a cluster says that one is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Target {
    /// Empty for the host that says so.
    pub host: String,
    /// Not 0.
    pub port: u16,
}

impl Redirect {
    /// Reads an error's code and the rest of its line, such as `MOVED` and `3999 127.0.0.1:6381`.
    pub fn parse(code: &str, detail: &str) -> Option<Self> {
        let ask = match code {
            "MOVED" => false,
            "ASK" => true,
            _ => return None,
        };
        let (slot, address) = detail.split_once(' ')?;
        // An IPv6 address stands without brackets.
        let (host, port) = address.rsplit_once(':')?;
        let slot = slot.parse().ok().filter(|slot| *slot < SLOTS)?;
        Some(Self { ask, slot, target: Target::new(host, port.parse().ok()?)? })
    }
}

impl Target {
    /// `None` where nothing can be connected to: `?` is what a node says that has no name to give.
    pub fn new(host: &str, port: u16) -> Option<Self> {
        let plausible = |byte: u8| byte.is_ascii_alphanumeric() || b".-_:%".contains(&byte);
        (port > 0 && host.len() <= HOST_BYTES && host.bytes().all(plausible))
            .then(|| Self { host: host.to_owned(), port })
    }

    /// The same, said by the node at `host`.
    pub fn said_by(self, host: &str) -> Self {
        if self.host.is_empty() { Self { host: host.to_owned(), ..self } } else { self }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, port } = self;
        if host.contains(':') { write!(f, "[{host}]:{port}") } else { write!(f, "{host}:{port}") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// From the specification, and from CLUSTER KEYSLOT of Redis 7.0.
    #[test]
    fn slots_are_those_of_redis() {
        assert_eq!(crc16(b"123456789"), 0x31c3);
        for (key, wanted) in [
            ("", 0),
            ("foo", 12182),
            ("{user1000}.following", 3443),
            ("{user1000}.followers", 3443),
            ("user1000", 3443),
            ("foo{}{bar}", 8363),
            ("foo{{bar}}zap", 4015),
            ("{bar", 4015),
            ("foo{bar}{zap}", 5061),
            ("bar", 5061),
            ("vcache:0123456789abcdef0123456789abcdef", 5829),
        ] {
            assert_eq!(slot(key.as_bytes()), wanted, "{key}");
        }
    }

    #[test]
    fn redirections() {
        let redirect =
            |ask, slot, host: &str, port| Some(Redirect { ask, slot, target: Target { host: host.to_owned(), port } });
        assert_eq!(Redirect::parse("MOVED", "3999 127.0.0.1:6381"), redirect(false, 3999, "127.0.0.1", 6381));
        assert_eq!(Redirect::parse("ASK", "16383 ::1:1"), redirect(true, 16383, "::1", 1));
        assert_eq!(Redirect::parse("MOVED", "0 :6379"), redirect(false, 0, "", 6379));
        let moved = Redirect::parse("MOVED", "0 :6379").unwrap();
        assert_eq!(moved.target.said_by("redis-1.example"), Target::new("redis-1.example", 6379).unwrap());
        assert_eq!(Target::new("::1", 1).unwrap().to_string(), "[::1]:1");
    }

    #[test]
    fn redirections_to_nowhere() {
        for detail in [
            "",
            " ",
            "3999",
            "3999 ",
            "3999 127.0.0.1",
            "3999 127.0.0.1:",
            "3999 127.0.0.1:0",
            "3999 127.0.0.1:65536",
            "16384 127.0.0.1:6379",
            "-1 127.0.0.1:6379",
            "99999999999999999999 127.0.0.1:6379",
            "3999 ?:6379",
            "3999 user@host:6379",
            "3999 a b:6379",
            "3999 a\u{0}b:6379",
            "3999 /tmp/socket:6379",
        ] {
            assert_eq!(Redirect::parse("MOVED", detail), None, "{detail}");
        }
        assert_eq!(Redirect::parse("ERR", "3999 127.0.0.1:6381"), None);
        assert_eq!(Target::new(&"a".repeat(HOST_BYTES + 1), 6379), None);
    }

    proptest! {
        #[test]
        fn any_text_is_a_redirection_or_none(detail in ".{0,60}") {
            if let Some(redirect) = Redirect::parse("ASK", &detail) {
                prop_assert!(redirect.slot < SLOTS && redirect.target.port > 0);
            }
        }

        #[test]
        fn every_key_has_a_slot(key in prop::collection::vec(any::<u8>(), 0..80)) {
            prop_assert!(slot(&key) < SLOTS);
        }
    }
}
