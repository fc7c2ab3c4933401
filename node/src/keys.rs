//! The keys that tokens are verified with: a folder of `<kid>.pem` files, and the development key in it.

use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use switchyard_gateway_core::auth::{KeySet, SigningKey};
use switchyard_gateway_core::key_file::{self, KeyFile, KeyFileError};

/// The `kid` of the key that `serve --dev` makes.
const DEVELOPMENT_KID: &str = "dev";

/// Why keys cannot be used; each says what to do.
#[derive(Debug, thiserror::Error)]
pub(crate) enum KeysError {
    #[error(
        "there is no key in {folder} to verify tokens with; put an Ed25519 public key there as <kid>.pem \
         (`openssl genpkey -algorithm ed25519 -out private.pem; openssl pkey -in private.pem -pubout -out {folder}/main.pem`), \
         or start with --dev to have a development key made"
    )]
    None { folder: PathBuf },
    #[error("{path} is not a key: {source}; replace it or take it out of the folder")]
    Invalid { path: PathBuf, source: KeyFileError },
    #[error("{path} cannot be used: {source}; check its permissions")]
    Io { path: PathBuf, source: io::Error },
    #[error(
        "there is no development key {path}; start `switchyard serve --dev` on this data folder first, or name it with --data"
    )]
    NoDevelopmentKey { path: PathBuf },
}

/// Reads every key of the folder.
pub(crate) fn load(folder: &Path, audience: &str) -> Result<KeySet, KeysError> {
    let mut keys = KeySet::new(audience);
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(KeysError::None { folder: folder.to_owned() });
        }
        Err(source) => return Err(KeysError::Io { path: folder.to_owned(), source }),
    };
    for entry in entries {
        let path = entry.map_err(|source| KeysError::Io { path: folder.to_owned(), source })?.path();
        if path.extension().is_none_or(|ending| ending != "pem") {
            continue;
        }
        let kid = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let public = match read(&path)? {
            KeyFile::Public(key) => key,
            KeyFile::Private(seed) => SigningKey::from_seed(seed).public_key(),
        };
        keys.insert(kid, public);
    }
    if keys.kids().next().is_none() {
        return Err(KeysError::None { folder: folder.to_owned() });
    }
    Ok(keys)
}

/// Makes the development key of a data folder unless it is there.
pub(crate) fn ensure_development_key(folder: &Path) -> Result<(), KeysError> {
    let path = development_path(folder);
    let io = |source| KeysError::Io { path: path.clone(), source };
    if path.exists() {
        return Ok(());
    }
    std::fs::create_dir_all(folder).map_err(io)?;
    let mut seed = [0_u8; 32];
    rustix::rand::getrandom(&mut seed, rustix::rand::GetRandomFlags::empty()).map_err(|errno| io(errno.into()))?;
    let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path).map_err(io)?;
    io::Write::write_all(&mut file, key_file::private_pem(&seed).as_bytes()).map_err(io)?;
    file.sync_all().map_err(io)
}

/// The development key of a data folder, to sign tokens with.
pub(crate) fn development_key(folder: &Path) -> Result<SigningKey, KeysError> {
    let path = development_path(folder);
    if !path.exists() {
        return Err(KeysError::NoDevelopmentKey { path });
    }
    match read(&path)? {
        KeyFile::Private(seed) => Ok(SigningKey::from_seed(seed).with_kid(DEVELOPMENT_KID)),
        KeyFile::Public(_) => Err(KeysError::NoDevelopmentKey { path }),
    }
}

fn development_path(folder: &Path) -> PathBuf {
    folder.join(DEVELOPMENT_KID).with_extension("pem")
}

fn read(path: &Path) -> Result<KeyFile, KeysError> {
    let text = std::fs::read_to_string(path).map_err(|source| KeysError::Io { path: path.to_owned(), source })?;
    key_file::parse(&text).map_err(|source| KeysError::Invalid { path: path.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn given_an_empty_folder_when_a_development_key_is_made_then_it_is_kept_and_loads() {
        let folder = tempfile::tempdir().expect("a folder");
        let keys = folder.path().join("keys");
        assert!(matches!(load(&keys, "switchyard"), Err(KeysError::None { .. })));
        assert!(matches!(development_key(&keys), Err(KeysError::NoDevelopmentKey { .. })));
        ensure_development_key(&keys).expect("made");
        let first = development_key(&keys).expect("there").public_key();
        ensure_development_key(&keys).expect("kept");
        assert_eq!(development_key(&keys).expect("there").public_key(), first);
        assert_eq!(load(&keys, "switchyard").expect("loads").kids().collect::<Vec<_>>(), ["dev"]);
    }

    #[test]
    fn given_a_file_that_is_no_key_when_loaded_then_the_error_names_it() {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join("broken.pem"), "nothing").expect("written");
        let error = load(folder.path(), "switchyard").expect_err("refused").to_string();
        assert!(error.contains("broken.pem") && error.contains("PEM block"), "{error}");
    }
}
