//! Places of the journal that a repair gave up: a record that cannot be read there is void, anywhere else it is damage.

use switchyard_log::Position;
use switchyard_log::manifest::{Manifest, VoidRegion};

/// What a repair gave up, as the manifest tells it.
#[derive(Clone, Debug, Default)]
pub(crate) struct GivenUp {
    regions: Vec<VoidRegion>,
    /// Segments, both ends included, that the list had to do without although later ones are there. Ascending.
    absent: Vec<(u32, u32)>,
}

impl GivenUp {
    pub(crate) fn of(manifest: &Manifest) -> Self {
        let mut absent = Vec::new();
        let mut next = manifest.oldest_segment();
        let listed = manifest.segments().iter().map(|entry| entry.number);
        for number in listed.chain([manifest.next_segment()]) {
            if number > next {
                absent.push((next, number - 1));
            }
            next = number.saturating_add(1);
        }
        Self { regions: manifest.voids().to_vec(), absent }
    }

    /// Whether the whole segment is gone, and known to be.
    pub(crate) fn has_segment(&self, segment: u32) -> bool {
        let index = self.absent.partition_point(|(_, last)| *last < segment);
        self.absent.get(index).is_some_and(|(first, _)| *first <= segment)
    }

    /// Whether what lies at `position` may be missing.
    pub(crate) fn contains(&self, Position { segment, offset }: Position) -> bool {
        let holds = |void: &VoidRegion| void.segment == segment && (void.from..void.to).contains(&offset);
        self.regions.iter().any(holds)
    }
}
