//! A certificate for development: a certificate authority of the data folder's own, made once so that it has to be trusted once,
//! and a server certificate that it signs at each start.
//!
//! The authority can only vouch for this machine and for private networks (RFC 5280 §4.2.1.10): whoever trusts it in a browser
//! risks nothing elsewhere if its key gets about.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::time::{Duration, SystemTime};

use rcgen::{
    BasicConstraints, CertificateParams, CidrSubnet, DnType, ExtendedKeyUsagePurpose, GeneralSubtree, IsCa, Issuer,
    KeyPair, KeyUsagePurpose, NameConstraints,
};

use super::TlsError;
use crate::config::TlsConfig;

/// The authority's certificate, for clients to trust.
pub(crate) const CA_FILE: &str = "ca.pem";
const CA_KEY_FILE: &str = "ca-key.pem";

/// How long the authority is good.
const CA_DAYS: u64 = 3_650;
/// How long a server certificate is good; what some systems accept at most.
const SERVER_DAYS: u64 = 397;
/// Clocks of other machines may be behind.
const BACKDATED_DAYS: u64 = 1;

/// What the authority can vouch for, beside `localhost`: loopback, private and link-local networks.
const NETWORKS_4: [(Ipv4Addr, u8); 5] = [
    (Ipv4Addr::new(127, 0, 0, 0), 8),
    (Ipv4Addr::new(10, 0, 0, 0), 8),
    (Ipv4Addr::new(172, 16, 0, 0), 12),
    (Ipv4Addr::new(192, 168, 0, 0), 16),
    (Ipv4Addr::new(169, 254, 0, 0), 16),
];
const NETWORKS_6: [(Ipv6Addr, u8); 3] = [
    (Ipv6Addr::LOCALHOST, 128),
    (Ipv6Addr::new(0xfc00, 0, 0, 0, 0, 0, 0, 0), 7),
    (Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0), 10),
];

/// Makes what is missing in `folder`, and a new server certificate.
///
/// # Errors
/// [`TlsError::Development`].
pub(super) fn make(folder: &Path, config: &TlsConfig) -> Result<(), TlsError> {
    fs::create_dir_all(folder).map_err(|source| TlsError::Development { path: folder.to_owned(), source })?;
    let authority = authority(folder)?;
    let key = KeyPair::generate().map_err(failed(&config.key))?;
    let signed = server_parameters([config.wss, config.quic].into_iter().flatten().map(|address| address.ip()))
        .and_then(|parameters| parameters.signed_by(&key, &authority))
        .map_err(failed(&config.certificate))?;
    write(&config.key, &key.serialize_pem(), true)?;
    write(&config.certificate, &signed.pem(), false)
}

/// The authority of the folder.
fn authority(folder: &Path) -> Result<Issuer<'static, KeyPair>, TlsError> {
    let (certificate_path, key_path) = (folder.join(CA_FILE), folder.join(CA_KEY_FILE));
    let known = match fs::read_to_string(&key_path) {
        Ok(pem) => Some(KeyPair::from_pem(&pem).map_err(failed(&key_path))?),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(source) => return Err(TlsError::Development { path: key_path, source }),
    };
    let is_whole = known.is_some() && certificate_path.exists();
    let key = known.map_or_else(KeyPair::generate, Ok).map_err(failed(&key_path))?;
    let parameters = authority_parameters();
    if !is_whole {
        let certificate = parameters.self_signed(&key).map_err(failed(&certificate_path))?;
        write(&key_path, &key.serialize_pem(), true)?;
        write(&certificate_path, &certificate.pem(), false)?;
    }
    Ok(Issuer::new(parameters, key))
}

/// All of the authority but its key and its time, which are the same at each start.
fn authority_parameters() -> CertificateParams {
    let mut parameters = CertificateParams::default();
    parameters.distinguished_name.push(DnType::CommonName, "Switchyard development");
    parameters.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    parameters.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    let addresses_4 = NETWORKS_4.iter().map(|&(address, bits)| CidrSubnet::from_addr_prefix(address.into(), bits));
    let addresses_6 = NETWORKS_6.iter().map(|&(address, bits)| CidrSubnet::from_addr_prefix(address.into(), bits));
    let names = std::iter::once(GeneralSubtree::DnsName("localhost".to_owned()));
    let permitted_subtrees = names.chain(addresses_4.chain(addresses_6).map(GeneralSubtree::IpAddress)).collect();
    parameters.name_constraints = Some(NameConstraints { permitted_subtrees, excluded_subtrees: Vec::new() });
    good_for(&mut parameters, CA_DAYS);
    parameters
}

/// A certificate for this machine, and for the addresses that it listens at if the authority can vouch for them.
fn server_parameters(listen: impl Iterator<Item = IpAddr>) -> Result<CertificateParams, rcgen::Error> {
    let mut names = vec!["localhost".to_owned(), Ipv4Addr::LOCALHOST.to_string(), Ipv6Addr::LOCALHOST.to_string()];
    for address in listen.filter(|&address| is_permitted(address) && !address.is_loopback()) {
        if !names.contains(&address.to_string()) {
            names.push(address.to_string());
        }
    }
    let mut parameters = CertificateParams::new(names)?;
    parameters.distinguished_name.push(DnType::CommonName, "localhost");
    parameters.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    parameters.use_authority_key_identifier_extension = true;
    good_for(&mut parameters, SERVER_DAYS);
    Ok(parameters)
}

fn is_permitted(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => NETWORKS_4
            .iter()
            .any(|&(network, bits)| (address.to_bits() ^ network.to_bits()).leading_zeros() >= u32::from(bits)),
        IpAddr::V6(address) => NETWORKS_6
            .iter()
            .any(|&(network, bits)| (address.to_bits() ^ network.to_bits()).leading_zeros() >= u32::from(bits)),
    }
}

fn good_for(parameters: &mut CertificateParams, days: u64) {
    const DAY: Duration = Duration::from_secs(24 * 60 * 60);
    let now = SystemTime::now();
    let day = |days: u64| DAY * u32::try_from(days).expect("a few years");
    parameters.not_before = (now - day(BACKDATED_DAYS)).into();
    parameters.not_after = (now + day(days - BACKDATED_DAYS)).into();
}

fn failed(path: &Path) -> impl Fn(rcgen::Error) -> TlsError {
    move |error| TlsError::Development { path: path.to_owned(), source: io::Error::other(error) }
}

/// Writes a file as a whole or not at all, a secret one for the owner alone.
fn write(path: &Path, text: &str, secret: bool) -> Result<(), TlsError> {
    let fail = |source| TlsError::Development { path: path.to_owned(), source };
    let new = path.with_extension("new");
    let mode = if secret { 0o600 } else { 0o644 };
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(mode).open(&new).map_err(fail)?;
    file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(fail)?;
    fs::rename(&new, path).map_err(fail)
}

#[cfg(test)]
mod tests {
    use switchyard_gateway_server::tls::certificates::Versions;

    use super::*;

    fn config(folder: &Path, listen: &str) -> TlsConfig {
        TlsConfig {
            wss: Some(listen.parse().expect("an address")),
            quic: None,
            quic_resumptions_max: 0,
            certificate: folder.join("server.pem"),
            key: folder.join("server-key.pem"),
            made_in: Some(folder.to_owned()),
            versions: Versions::Only13,
        }
    }

    #[test]
    fn given_a_folder_when_certificates_are_made_twice_then_the_authority_stays_and_keys_are_secret() {
        use std::os::unix::fs::PermissionsExt as _;

        let folder = tempfile::tempdir().expect("a folder");
        let folder = folder.path().join("tls");
        let config = config(&folder, "192.168.1.7:443");
        let read = |name: &str| fs::read_to_string(folder.join(name)).expect("it is there");
        make(&folder, &config).expect("made");
        let (authority, server) = (read(CA_FILE), read("server.pem"));
        make(&folder, &config).expect("made again");
        assert_eq!(read(CA_FILE), authority);
        assert_ne!(read("server.pem"), server);
        super::super::Shown::read(&config.certificate, &config.key).expect("the two belong together");
        for name in [CA_KEY_FILE, "server-key.pem"] {
            let mode = fs::metadata(folder.join(name)).expect("it is there").permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "{name}");
        }
    }

    #[test]
    fn given_addresses_then_only_those_of_this_machine_and_of_private_networks_are_vouched_for() {
        for (address, expect) in [
            ("127.0.0.1", true),
            ("10.1.2.3", true),
            ("172.31.0.1", true),
            ("172.32.0.1", false),
            ("192.168.1.7", true),
            ("0.0.0.0", false),
            ("203.0.113.1", false),
            ("::1", true),
            ("::2", false),
            ("fd00::1", true),
            ("2001:db8::1", false),
        ] {
            assert_eq!(is_permitted(address.parse().expect("an address")), expect, "{address}");
        }
    }
}
