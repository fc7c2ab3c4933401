//! The manifest: any bytes are refused or understood, and what is understood can be written again and recovered with.

use switchyard_log::manifest::Manifest;
use switchyard_log::recovery::Mode;

use crate::checksums::mend_manifest;
use crate::folder::{NOW, SHARDS, ordinary, recovered};

/// First byte: whether the checksum is made right; the rest is the file.
pub(crate) fn run(data: &[u8]) {
    let Some((choice, bytes)) = data.split_first() else { return };
    let mut bytes = bytes.to_vec();
    if choice & 1 == 0 {
        mend_manifest(&mut bytes);
    }
    let Ok(manifest) = Manifest::decode(&bytes) else { return };
    let again = Manifest::decode(&manifest.encode()).expect("what was written by this version is read by it");
    assert_eq!(again, manifest);
    let _ = manifest.droppable(NOW).count();
    let files = ordinary().files.clone();
    for mode in [Mode::Verify, Mode::Recover(&|_| 0), Mode::Recover(&|_| 1000)] {
        if let Ok((found, _)) = recovered(&files, Some(manifest.clone()), &mode) {
            assert_eq!(found.shards.len(), usize::from(SHARDS));
            assert_eq!(Manifest::decode(&found.manifest.encode()).as_ref(), Ok(&found.manifest));
        }
    }
}

pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let with_choice = |manifest: &Manifest| [&[0][..], &manifest.encode()].concat();
    let stopped = ordinary().manifest.clone();
    let mut covered = stopped.clone();
    covered.cover(|_| u64::MAX);
    vec![with_choice(&Manifest::new(stopped.shard_count())), with_choice(&stopped), with_choice(&covered)]
}
