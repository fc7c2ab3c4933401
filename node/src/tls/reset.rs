//! The key of QUIC's stateless resets: made once, and kept in the data folder so that the next process has it too.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use switchyard_gateway_server::ResetKey;

use super::TlsError;

/// The secret as it is, without any form.
const FILE: &str = "quic-reset.key";

/// The key of a data folder, which is made unless it is there.
///
/// # Errors
/// [`TlsError::ResetKey`] and [`TlsError::NoResetKey`].
pub(super) fn key(data_dir: &Path) -> Result<ResetKey, TlsError> {
    let path = data_dir.join(FILE);
    let secret = match fs::read(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => make(&path),
        read => read,
    };
    let secret = secret.map_err(|source| TlsError::ResetKey { path: path.clone(), source })?;
    match secret.as_slice().try_into() {
        Ok(secret) => Ok(ResetKey::new(secret)),
        Err(_) => Err(TlsError::NoResetKey { path, bytes: secret.len() }),
    }
}

/// Writes random bytes as a whole or not at all, for the owner alone.
fn make(path: &Path) -> io::Result<Vec<u8>> {
    let mut secret = vec![0; ResetKey::SECRET_BYTES];
    rustix::rand::getrandom(secret.as_mut_slice(), rustix::rand::GetRandomFlags::empty())?;
    let new = path.with_extension("new");
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
    file.write_all(&secret)?;
    file.sync_all()?;
    fs::rename(&new, path)?;
    Ok(secret)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn given_a_data_folder_when_asked_twice_then_the_key_is_made_once_and_secret() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join(FILE);
        key(folder.path()).expect("made");
        let secret = fs::read(&path).expect("it is there");
        assert!(secret.iter().any(|&byte| byte != 0), "random");
        assert_eq!(fs::metadata(&path).expect("it is there").permissions().mode() & 0o777, 0o600);
        key(folder.path()).expect("kept");
        assert_eq!(fs::read(&path).expect("it is there"), secret);
        assert_eq!(fs::read_dir(folder.path()).expect("a folder").count(), 1, "nothing is left over");
    }

    #[test]
    fn given_a_file_that_is_no_key_then_the_error_names_it_and_says_what_to_do() {
        let folder = tempfile::tempdir().expect("a folder");
        fs::write(folder.path().join(FILE), b"short").expect("written");
        let error = key(folder.path()).expect_err("refused").to_string();
        assert!(error.contains(FILE) && error.contains("5 bytes") && error.contains("remove it"), "{error}");
    }
}
