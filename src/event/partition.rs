//! The partitions that entities are divided into, and sets of them.

use std::sync::atomic::{AtomicU32, Ordering};

use sha2::{Digest as _, Sha256};

/// How many there are; the tables' checks say the same.
const COUNT: u8 = 32;

/// A partition: the events of its entities are applied in order. The default is the first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Partition(u8);

impl Partition {
    /// The one that an entity belongs to. It never changes: what is in flight would change its order.
    pub(crate) fn of(entity_id: &str) -> Self {
        Self(Sha256::digest(entity_id)[0] % COUNT)
    }

    /// The one of this number, from 0 to 31.
    pub(crate) fn numbered(number: i16) -> Option<Self> {
        let number = u8::try_from(number).ok()?;
        (number < COUNT).then_some(Self(number))
    }

    /// The one that comes after it; none after the last.
    pub(crate) fn next(self) -> Option<Self> {
        Self::numbered(self.number() + 1)
    }

    /// Its number, from 0, as tables have it.
    pub(crate) fn number(self) -> i16 {
        self.0.into()
    }

    /// Its place among all of them, from 0.
    pub(crate) fn index(self) -> usize {
        self.0.into()
    }
}

/// A set of partitions; the default is empty.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Partitions(u32);

impl Partitions {
    /// All of them.
    pub(crate) const ALL: Self = Self(u32::MAX);

    /// Those whose bits are set, the first in the lowest.
    pub(crate) fn from_bits(bits: u32) -> Self {
        Self(bits)
    }

    /// A bit for each.
    pub(crate) fn bits(self) -> u32 {
        self.0
    }

    /// Whether there are none.
    pub(crate) fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// How many they are.
    pub(crate) fn len(self) -> u32 {
        self.0.count_ones()
    }

    /// Whether it is one of them.
    pub(crate) fn contains(self, partition: Partition) -> bool {
        self.0 & Self::from(partition).0 != 0
    }

    /// With those of another set, too.
    pub(crate) fn or(self, others: Self) -> Self {
        Self(self.0 | others.0)
    }

    /// Those that are not in another set.
    pub(crate) fn without(self, others: Self) -> Self {
        Self(self.0 & !others.0)
    }

    /// Each, in order.
    pub(crate) fn iter(self) -> impl Iterator<Item = Partition> {
        (0..COUNT)
            .map(Partition)
            .filter(move |partition| self.contains(*partition))
    }

    /// Their numbers, as tables have them, in order.
    pub(crate) fn numbers(self) -> Vec<i16> {
        self.iter().map(Partition::number).collect()
    }
}

impl From<Partition> for Partitions {
    fn from(partition: Partition) -> Self {
        Self(1 << partition.0)
    }
}

impl FromIterator<Partition> for Partitions {
    fn from_iter<I: IntoIterator<Item = Partition>>(partitions: I) -> Self {
        partitions
            .into_iter()
            .fold(Self::default(), |set, partition| set.or(partition.into()))
    }
}

/// A set of partitions that tasks share.
#[derive(Debug, Default)]
pub(crate) struct SharedPartitions(AtomicU32);

impl SharedPartitions {
    /// Adds some.
    pub(crate) fn add(&self, partitions: Partitions) {
        self.0.fetch_or(partitions.0, Ordering::AcqRel);
    }

    /// Takes all that are in it out.
    pub(crate) fn take(&self) -> Partitions {
        Partitions(self.0.swap(0, Ordering::AcqRel))
    }

    /// Takes one out; whether it was in it.
    pub(crate) fn remove(&self, partition: Partition) -> bool {
        let one = Partitions::from(partition);
        Partitions(self.0.fetch_and(!one.0, Ordering::AcqRel)).contains(partition)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partition_of_an_entity_never_changes() {
        assert_eq!(
            ["10042", "10043", ""].map(|entity| Partition::of(entity).number()),
            [12, 11, 3]
        );
    }

    #[test]
    fn there_are_as_many_partitions_as_bits_in_a_set() {
        assert_eq!(Partitions::ALL.numbers(), (0..32).collect::<Vec<i16>>());
        assert_eq!(Partitions::ALL.iter().collect::<Partitions>(), Partitions::ALL);
        let last = Partition::numbered(31).unwrap();
        assert_eq!((last.next(), Partition::numbered(32)), (None, None));
        assert_eq!(Partitions::from(last).bits(), 1 << 31);
    }

    #[test]
    fn what_is_taken_out_of_a_shared_set_is_gone() {
        let [one, two] = [1, 2].map(|number| Partition::numbered(number).unwrap());
        let shared = SharedPartitions::default();
        shared.add([one, two].into_iter().collect());
        assert!(shared.remove(one) && !shared.remove(one));
        assert_eq!(shared.take(), two.into());
        assert!(shared.take().is_empty());
    }
}
