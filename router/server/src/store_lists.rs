//! What the state store's library writes a checksum for and does not look at: the list of tables of each keyspace.
//!
//! A damaged list makes it ask for more memory than there is, which ends the process without a word, or take a table for one
//! of another level. `current` names the list in use: its number as u64, the XXH3-128 of its file as u128, and 0 for that
//! kind of checksum, little-endian (lsm-tree 3.1, `version/persist.rs`). It is written when the list is durable.

use std::fs;
use std::io;
use std::path::Path;

use xxhash_rust::xxh3::xxh3_128;

/// Bytes of a `current` of the kind that is understood here; any other is left to the library.
const CURRENT_BYTES: usize = 25;

/// Looks at the lists of every keyspace in the store's `folder`.
///
/// # Errors
/// In words, which file is damaged.
pub(crate) fn check(folder: &Path) -> Result<(), String> {
    let keyspaces = match fs::read_dir(folder.join("keyspaces")) {
        Ok(keyspaces) => keyspaces,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error.to_string()),
    };
    for keyspace in keyspaces {
        check_keyspace(&keyspace.map_err(|error| error.to_string())?.path())?;
    }
    Ok(())
}

fn check_keyspace(folder: &Path) -> Result<(), String> {
    let Ok(current) = fs::read(folder.join("current")) else { return Ok(()) };
    let Ok(current) = <[u8; CURRENT_BYTES]>::try_from(current) else { return Ok(()) };
    let (number, rest) = current.split_at(8);
    let (checksum, kind) = rest.split_at(16);
    if kind != [0] {
        return Ok(());
    }
    let number = u64::from_le_bytes(number.try_into().expect("eight bytes"));
    let path = folder.join(format!("v{number}"));
    let list = fs::read(&path).map_err(|error| format!("{} cannot be read ({error})", path.display()))?;
    if xxh3_128(&list).to_le_bytes() == checksum {
        Ok(())
    } else {
        Err(format!("{} does not match its checksum", path.display()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Store;
    use crate::testing;

    #[test]
    fn given_any_byte_of_a_list_changed_when_opened_then_it_is_refused_and_named() {
        let folder = testing::folder("store-lists");
        drop(Store::open(&folder).expect("a new store"));
        assert_eq!(check(&folder), Ok(()));
        let mut lists = 0;
        for keyspace in fs::read_dir(folder.join("keyspaces")).expect("keyspaces") {
            let keyspace = keyspace.expect("listed").path();
            let current = fs::read(keyspace.join("current")).expect("every keyspace has a list");
            let list = keyspace.join(format!("v{}", current[0]));
            let whole = fs::read(&list).expect("the list in use");
            for at in 0..whole.len() {
                let mut damaged = whole.clone();
                damaged[at] ^= 0x80;
                fs::write(&list, &damaged).expect("damaged");
                let refused = Store::open(&folder).err().expect("it is damaged").to_string();
                assert!(refused.contains(&list.display().to_string()), "byte {at}: {refused}");
                assert!(refused.contains("--rebuild-state"), "{refused}");
            }
            fs::write(&list, &whole).expect("restored");
            lists += 1;
        }
        assert!(lists >= 2, "the store's own and that of the rows");
        assert!(Store::open(&folder).is_ok());
    }
}
