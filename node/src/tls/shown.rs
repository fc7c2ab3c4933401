//! The certificate that is shown, and the files that it comes from: read again when they change, so that whatever renews them
//! need not tell the server.
//!
//! What they hold is compared, not when they were written: a renewal may replace files, links, or their content, and it may
//! write one file after the other. As long as the two do not belong together, the certificate before stays.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use switchyard_gateway_server::tls::certificates::{Certificate, CertificateError, Certificates};
use switchyard_schema::ids::Millis;

use crate::admin::Sample;

/// How often the files are looked at: a renewal is seen within seconds, and two small reads cost nothing.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// The certificate, and where it comes from.
#[derive(Debug)]
pub(crate) struct Shown {
    certificate_path: PathBuf,
    key_path: PathBuf,
    figures: ShownFigures,
    /// Tells what the files held when they were looked at last, or why they could not be read, from anything else.
    found: u64,
    next_look: Instant,
}

/// What others may know of it.
#[derive(Clone, Debug)]
pub(crate) struct ShownFigures {
    certificates: Arc<Certificates>,
    counted: Arc<Counted>,
}

#[derive(Debug, Default)]
struct Counted {
    replaced: AtomicU64,
    refused: AtomicU64,
    /// The files hold something that cannot be shown.
    stale: AtomicBool,
}

/// What the files hold.
type Contents = Result<[Vec<u8>; 2], CertificateError>;

impl Shown {
    /// Reads the files.
    ///
    /// # Errors
    /// [`CertificateError`].
    pub(super) fn read(certificate: &Path, key: &Path) -> Result<Self, CertificateError> {
        let contents = read(certificate, key);
        let found = fingerprint(&contents);
        let read = parse(certificate, key, contents)?;
        tell(&read, "the TLS certificate is read");
        let figures = ShownFigures { certificates: Arc::new(Certificates::new(read)), counted: Arc::default() };
        let next_look = Instant::now() + LOOK_EVERY;
        Ok(Self { certificate_path: certificate.to_owned(), key_path: key.to_owned(), figures, found, next_look })
    }

    pub(super) const fn certificates(&self) -> &Arc<Certificates> {
        &self.figures.certificates
    }

    /// What others may know of it.
    pub(crate) fn figures(&self) -> ShownFigures {
        self.figures.clone()
    }

    /// Looks at the files when it is time to.
    pub(crate) fn look(&mut self, now: Instant) {
        if now < self.next_look {
            return;
        }
        self.next_look = now + LOOK_EVERY;
        let contents = read(&self.certificate_path, &self.key_path);
        if fingerprint(&contents) != self.found {
            self.take(contents);
        }
    }

    /// Somebody says that the files have changed.
    pub(crate) fn reload(&mut self) {
        self.take(read(&self.certificate_path, &self.key_path));
    }

    fn take(&mut self, contents: Contents) {
        self.found = fingerprint(&contents);
        let Counted { replaced, refused, stale } = &*self.figures.counted;
        let parsed = parse(&self.certificate_path, &self.key_path, contents);
        stale.store(parsed.is_err(), Ordering::Relaxed);
        match parsed {
            Ok(certificate) => {
                tell(&certificate, "the TLS certificate is read again; open connections stay as they are");
                self.figures.certificates.replace(certificate);
                replaced.fetch_add(1, Ordering::Relaxed);
            }
            Err(error) => {
                tracing::error!(%error, "the TLS certificate is not replaced; the one before stays in force");
                refused.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
}

impl ShownFigures {
    /// The figures of the certificate.
    pub(crate) fn samples(&self) -> impl Iterator<Item = Sample> {
        let Counted { replaced, refused, stale } = &*self.counted;
        let reads = |count: &AtomicU64, result| {
            Sample::new("tls_certificate_reads", count.load(Ordering::Relaxed)).with("result", result)
        };
        [
            Sample::new("tls_certificate_expires_ms", self.certificates.current().expires().0),
            reads(replaced, "shown"),
            reads(refused, "refused"),
            Sample::new("tls_certificate_stale", u64::from(stale.load(Ordering::Relaxed))),
        ]
        .into_iter()
    }
}

fn read(certificate: &Path, key: &Path) -> Contents {
    let read =
        |path: &Path| std::fs::read(path).map_err(|source| CertificateError::Io { path: path.to_owned(), source });
    Ok([read(certificate)?, read(key)?])
}

fn parse(certificate: &Path, key: &Path, contents: Contents) -> Result<Certificate, CertificateError> {
    let [chain, private] = contents?;
    Certificate::from_pem((certificate, &chain), (key, &private))
}

fn fingerprint(contents: &Contents) -> u64 {
    let mut hasher = DefaultHasher::new();
    contents.as_ref().map_err(CertificateError::to_string).hash(&mut hasher);
    hasher.finish()
}

/// Says what is shown from now on, and what is wrong with its time: clients will refuse it.
fn tell(certificate: &Certificate, what: &'static str) {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let now = Millis(u64::try_from(now.as_millis()).unwrap_or(u64::MAX));
    let (from, expires) = (certificate.valid_from(), certificate.expires());
    if now > expires {
        tracing::error!("{what}, but it has expired: clients refuse it; renew it");
    } else if now < from {
        tracing::error!("{what}, but it is not valid yet: clients refuse it; look at the clock");
    } else {
        tracing::info!(days_left = (expires.0 - now.0) / (24 * 60 * 60 * 1_000), "{what}");
    }
}

#[cfg(test)]
pub(super) mod tests {
    use rcgen::{CertificateParams, KeyPair};

    use super::*;

    /// The figures of a certificate that nobody has replaced.
    pub(crate) fn figures_of_some() -> ShownFigures {
        let folder = tempfile::tempdir().expect("a folder");
        let (certificate, key) = written(folder.path(), &made(2040));
        Shown::read(&certificate, &key).expect("it is whole").figures()
    }

    /// The paths of a certificate and its key that are written there.
    fn written(folder: &Path, (certificate, key): &(String, String)) -> (PathBuf, PathBuf) {
        let paths = (folder.join("chain.pem"), folder.join("key.pem"));
        write(&paths.0, certificate);
        write(&paths.1, key);
        paths
    }

    /// What a test knows of a certificate's figures: shown again, refused, stale.
    fn counted(shown: &Shown) -> (u64, u64, bool) {
        let Counted { replaced, refused, stale } = &*shown.figures.counted;
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        (read(replaced), read(refused), stale.load(Ordering::Relaxed))
    }

    fn write(path: &Path, text: &str) {
        std::fs::write(path, text).expect("it can be written");
    }

    fn made(year: i32) -> (String, String) {
        let key = KeyPair::generate().expect("a key");
        let mut parameters = CertificateParams::new(vec!["localhost".to_owned()]).expect("a name");
        parameters.not_after = rcgen::date_time_ymd(year, 1, 1);
        (parameters.self_signed(&key).expect("signed").pem(), key.serialize_pem())
    }

    #[test]
    fn given_files_that_are_replaced_one_after_the_other_then_the_new_pair_is_shown_once_it_is_whole() {
        let folder = tempfile::tempdir().expect("a folder");
        let (certificate, key) = written(folder.path(), &made(2040));
        let (new, new_key) = made(2041);
        let mut shown = Shown::read(&certificate, &key).expect("it is whole");
        let mut later = Instant::now();
        let mut look = |shown: &mut Shown| {
            later += LOOK_EVERY;
            shown.look(later);
        };
        let expires = |shown: &Shown| shown.certificates().current().expires();
        let first = expires(&shown);
        look(&mut shown);
        assert_eq!(counted(&shown), (0, 0, false), "nothing has changed");
        write(&certificate, &new);
        look(&mut shown);
        assert_eq!((counted(&shown), expires(&shown)), ((0, 1, true), first), "half of it stays outside");
        look(&mut shown);
        assert_eq!(counted(&shown), (0, 1, true), "the same is refused once");
        write(&key, &new_key);
        look(&mut shown);
        assert_eq!(counted(&shown), (1, 1, false));
        assert!(expires(&shown) > first);
        std::fs::remove_file(&key).expect("it is there");
        look(&mut shown);
        assert_eq!(counted(&shown), (1, 2, true));
        write(&key, &new_key);
        shown.reload();
        assert_eq!(counted(&shown), (2, 2, false));
    }

    #[test]
    fn given_files_when_it_is_not_time_to_look_then_they_are_left_alone() {
        let folder = tempfile::tempdir().expect("a folder");
        let (certificate, key) = written(folder.path(), &made(2040));
        let before = Instant::now();
        let mut shown = Shown::read(&certificate, &key).expect("it is whole");
        write(&key, "");
        shown.look(before);
        assert_eq!(counted(&shown), (0, 0, false));
    }
}
