//! Environment overrides: `SWITCHYARD_<TABLE>__<KEY>`, for example `SWITCHYARD_GATEWAY__LISTEN_WS`, and for a table in a table
//! `SWITCHYARD_GATEWAY__TLS__KEY`.
//!
//! A value is TOML where it parses as TOML (`8`, `true`, `["https://a.example"]`) and a string otherwise.

use super::ConfigError;

const PREFIX: &str = "SWITCHYARD_";

/// Puts the variables over what the file says. A variable with the prefix but without `__` belongs to somebody else.
pub(super) fn apply(
    table: &mut toml::Table,
    environment: impl Iterator<Item = (String, String)>,
) -> Result<(), ConfigError> {
    for (name, value) in environment {
        let Some((section, key)) = name.strip_prefix(PREFIX).and_then(|rest| rest.rsplit_once("__")) else { continue };
        let (section, key) = (section.to_ascii_lowercase().replace("__", "."), key.to_ascii_lowercase());
        if !super::keys::KEYS.iter().any(|known| known.section == section && known.name == key) {
            let reason = format!("there is no key {section}.{key}; `switchyard config print` shows every key");
            return Err(ConfigError::Environment { name, reason });
        }
        let place = section.split('.').try_fold(&mut *table, |table, name| {
            table.entry(name).or_insert_with(|| toml::Value::Table(toml::Table::new())).as_table_mut()
        });
        let Some(place) = place else {
            let reason = "the configuration file has something else than a table there".to_owned();
            return Err(ConfigError::Environment { name, reason });
        };
        place.insert(key, parse(&value));
    }
    Ok(())
}

fn parse(value: &str) -> toml::Value {
    format!("value = {value}")
        .parse::<toml::Table>()
        .ok()
        .and_then(|mut table| table.remove("value"))
        .unwrap_or_else(|| toml::Value::String(value.to_owned()))
}
