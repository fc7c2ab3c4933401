//! `config print`: the configuration in force as a TOML file with every key documented.

use std::fmt::Write as _;

use super::keys::KEYS;
use super::raw::RawConfig;

/// The file's text.
pub(crate) fn print(raw: &RawConfig) -> String {
    let table = toml::Value::try_from(raw).expect("the configuration holds nothing that TOML lacks");
    let mut text = String::from("# Every key with the value in force. Environment: SWITCHYARD_<TABLE>__<KEY>.\n");
    let mut section = "";
    for key in KEYS {
        if key.section != section {
            section = key.section;
            let _ = write!(text, "\n[{section}]\n");
        }
        let value = &key.section.split('.').fold(&table, |place, name| &place[name])[key.name];
        let _ = write!(text, "# {}\n{} = {value}\n", key.doc, key.name);
    }
    text
}

#[cfg(test)]
mod tests {
    use switchyard_gateway_core::rate::{Rate, Rates};

    use super::super::{Flags, load, raw};
    use super::*;

    fn none() -> impl Iterator<Item = (String, String)> {
        std::iter::empty()
    }

    fn keys_in(table: &toml::Table) -> usize {
        table.values().map(|value| value.as_table().map_or(1, keys_in)).sum()
    }

    #[test]
    fn given_the_defaults_when_printed_then_every_key_is_there_and_the_text_parses_back() {
        let defaults = RawConfig::default();
        let text = print(&defaults);
        let back: RawConfig = toml::from_str(&text).expect("what is printed is a configuration");
        assert_eq!(print(&back), text);
        let table = toml::Table::try_from(&defaults).expect("serializable");
        assert_eq!(keys_in(&table), KEYS.len(), "a key is missing in KEYS, or one too many stands there");
    }

    #[test]
    fn given_an_environment_variable_when_loaded_then_it_wins_over_the_default_and_a_flag_over_it() {
        let environment = || {
            [
                ("SWITCHYARD_GATEWAY__LISTEN_WS".to_owned(), "127.0.0.1:9000".to_owned()),
                ("SWITCHYARD_ROUTER__CORES".to_owned(), "3".to_owned()),
                ("SWITCHYARD_GATEWAY__LISTEN_WSS".to_owned(), "127.0.0.1:9001".to_owned()),
                ("SWITCHYARD_GATEWAY__TLS__CERTIFICATE".to_owned(), "chain.pem".to_owned()),
                ("SWITCHYARD_GATEWAY__TLS__KEY".to_owned(), "key.pem".to_owned()),
                ("SWITCHYARD_BIN".to_owned(), "elsewhere".to_owned()),
            ]
            .into_iter()
        };
        let config = load(None, environment(), &Flags::default()).expect("valid");
        assert_eq!((config.listen_ws.port(), config.router_cores), (9000, 3));
        let tls = config.tls.expect("there is a TLS listener");
        assert_eq!((tls.wss.expect("it is named").port(), tls.key), (9001, "key.pem".into()));
        let flags = Flags { router_cores: Some(2), ..Flags::default() };
        assert_eq!(load(None, environment(), &flags).expect("valid").router_cores, 2);
    }

    #[test]
    fn given_development_when_loaded_then_only_the_limits_that_were_named_hold() {
        let environment = || [("SWITCHYARD_LIMITS__SENDS_PER_SECOND".to_owned(), "7".to_owned())].into_iter();
        let usual = load(None, none(), &Flags::default()).expect("valid");
        assert_ne!((usual.handshakes, usual.rates.frames), (Rate::UNLIMITED, Rate::UNLIMITED));
        let development = load(None, environment(), &Flags { dev: true, ..Flags::default() }).expect("valid");
        assert_eq!(development.rates.connection.sends, Rate::per_second(7));
        assert_eq!((development.handshakes, development.rates.frames), (Rate::UNLIMITED, Rate::UNLIMITED));
        assert_eq!(development.rates.user, Rates::default());
    }

    #[test]
    fn given_an_impossible_value_when_loaded_then_the_error_names_key_and_bounds() {
        for (variable, value, expect) in [
            ("SWITCHYARD_DATA__SHARD_COUNT", "2000", "between 1 and 1024"),
            ("SWITCHYARD_ADMIN__LISTEN", "0.0.0.0:1", "loopback"),
            ("SWITCHYARD_GATEWAY__HEARTBEAT", "1", "no key gateway.heartbeat"),
            ("SWITCHYARD_GATEWAY__CORES", "many", "invalid type"),
            ("SWITCHYARD_GATEWAY__LISTEN_WSS", "127.0.0.1", "invalid socket address"),
            ("SWITCHYARD_GATEWAY__LISTEN_WSS", "127.0.0.1:1", "gateway.tls.certificate"),
            ("SWITCHYARD_GATEWAY__LISTEN_QUIC", "127.0.0.1:1", "gateway.listen_quic = 127.0.0.1:1 is not possible"),
            ("SWITCHYARD_GATEWAY__QUIC_RESUMPTIONS", "20000000", "at most 16777216"),
            ("SWITCHYARD_GATEWAY__TLS__MIN_VERSION", "tls1.1", "unknown variant"),
            ("SWITCHYARD_GATEWAY__TLS__CIPHERS", "all", "no key gateway.tls.ciphers"),
            ("SWITCHYARD_DATA__SEGMENT_BYTES", "5", "1 MiB"),
        ] {
            let environment = [(variable.to_owned(), value.to_owned())].into_iter();
            let error = load(None, environment, &Flags::default()).expect_err(variable).to_string();
            assert!(error.contains(expect), "{variable}: {error}");
        }
        assert!(raw(None, none(), &Flags::default()).is_ok());
    }

    #[test]
    fn given_parts_of_tls_that_do_not_go_together_when_loaded_then_it_is_said_what_is_missing() {
        const LISTEN: &str = "SWITCHYARD_GATEWAY__LISTEN_WSS";
        const CERTIFICATE: &str = "SWITCHYARD_GATEWAY__TLS__CERTIFICATE";
        const KEY: &str = "SWITCHYARD_GATEWAY__TLS__KEY";
        let load = |variables: &[(&str, &str)], dev| {
            let variables: Vec<_> =
                variables.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect();
            load(None, variables.into_iter(), &Flags { dev, ..Flags::default() })
        };
        for dev in [false, true] {
            let error = |variables: &[_]| load(variables, dev).expect_err("it is refused").to_string();
            let alone = error(&[(LISTEN, "127.0.0.1:1"), (CERTIFICATE, "chain.pem")]);
            assert!(alone.starts_with("gateway.tls.certificate = chain.pem ") && alone.contains("belong together"));
            let alone = error(&[(LISTEN, "127.0.0.1:1"), (KEY, "key.pem")]);
            assert!(alone.starts_with("gateway.tls.key = key.pem ") && alone.contains("belong together"));
        }
        let shared = |port: &str| {
            let address = format!("127.0.0.1:{port}");
            load(&[("SWITCHYARD_GATEWAY__LISTEN_WS", &address), (LISTEN, &address)], true)
        };
        let error = shared("7400").expect_err("one port cannot be both").to_string();
        assert!(error.contains("gateway.listen_ws has this address"), "{error}");
        assert!(shared("0").is_ok(), "the kernel finds a port for each");
        let unshown = load(&[(CERTIFICATE, "chain.pem"), (KEY, "key.pem")], false).expect("it may come to be used");
        assert_eq!(unshown.unshown_certificate, Some("chain.pem".into()));
        let shown = load(&[(LISTEN, "127.0.0.1:1"), (CERTIFICATE, "chain.pem"), (KEY, "key.pem")], false);
        assert_eq!(shown.expect("valid").unshown_certificate, None);
    }
}
