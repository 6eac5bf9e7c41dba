//! Training in several processes, which share the lanes of a batch.
//!
//! The lanes are cut into `train.shards` shards. Each is a model of its own with the same weights, and
//! the gradient is the sum over the shards in a fixed [`Tree`]. Which process computes a shard, and
//! which one adds up what, changes no bit of it. Goyal et al., "Accurate, large minibatch SGD", 2017,
//! is what a step in common means; the order of the sum is our own.

use std::ops::Range;

use bytemuck::{Pod, cast_slice, cast_slice_mut};
use tensor_core::gemm::add;
use tensor_core::{Aligned, Real};

use crate::Error;

/// The processes that train together, called ranks as in MPI.
pub trait Ranks {
    /// Which of them this is, from 0 on.
    fn rank(&self) -> usize;

    /// How many there are.
    fn count(&self) -> usize;

    /// Sends `to[r]` to each rank `r`, and overwrites `from[r]` with what came from there. What two
    /// ranks send each other is as long as the other expects; what is for itself a rank leaves empty.
    ///
    /// # Errors
    /// If one of them is gone.
    fn exchange(&self, to: &[&[u8]], from: &mut [&mut [u8]]) -> Result<(), Error>;
}

/// One process.
#[derive(Clone, Copy, Debug, Default)]
pub struct Alone;

impl Ranks for Alone {
    fn rank(&self) -> usize {
        0
    }
    fn count(&self) -> usize {
        1
    }
    fn exchange(&self, _to: &[&[u8]], _from: &mut [&mut [u8]]) -> Result<(), Error> {
        Ok(())
    }
}

/// The share of `rank` in `len` things: as many as any other's, or one less.
pub fn share(len: usize, rank: usize, count: usize) -> Range<usize> {
    len * rank / count..len * (rank + 1) / count
}

/// Lets every rank know all of `values`, of which each has written its own part. The parts lie in the
/// order of the ranks and together are all there is.
///
/// # Errors
/// If a rank is gone.
pub fn gather<V: Pod>(
    ranks: &dyn Ranks,
    values: &mut [V],
    part: impl Fn(usize) -> Range<usize>,
) -> Result<(), Error> {
    let (rank, count) = (ranks.rank(), ranks.count());
    if count == 1 {
        return Ok(());
    }
    let mut rest = values;
    let mut parts: Vec<_> = (0..count)
        .map(|rank| rest.split_off_mut(..part(rank).len()).expect("parts are all there is"))
        .collect();
    let own = std::mem::take(&mut parts[rank]);
    let mut from: Vec<_> = parts.into_iter().map(cast_slice_mut).collect();
    ranks.exchange(&to_others(ranks, |_| cast_slice(&*own)), &mut from)
}

/// Whether any rank says so.
///
/// # Errors
/// If a rank is gone.
pub fn any(ranks: &dyn Ranks, here: bool) -> Result<bool, Error> {
    let mut said = vec![0_u8; ranks.count()];
    said[ranks.rank()] = u8::from(here);
    gather(ranks, &mut said, |rank| rank..rank + 1)?;
    Ok(said.contains(&1))
}

/// Lets every rank know what each of them has to say, in the order of the ranks.
///
/// # Errors
/// If a rank is gone.
pub fn tell(ranks: &dyn Ranks, own: Vec<u8>) -> Result<Vec<Vec<u8>>, Error> {
    let mut ends = vec![0_u64; ranks.count()];
    ends[ranks.rank()] = own.len() as u64;
    gather(ranks, &mut ends, |rank| rank..rank + 1)?;
    for rank in 1..ends.len() {
        ends[rank] += ends[rank - 1];
    }
    let place = |rank: usize| {
        let start = rank.checked_sub(1).map_or(0, |before| ends[before]);
        start as usize..ends[rank] as usize
    };
    let mut all = vec![0; place(ends.len() - 1).end];
    all[place(ranks.rank())].copy_from_slice(&own);
    gather(ranks, &mut all, place)?;
    Ok((0..ends.len()).map(|rank| all[place(rank)].to_vec()).collect())
}

fn to_others<'b>(ranks: &dyn Ranks, bytes: impl Fn(usize) -> &'b [u8]) -> Vec<&'b [u8]> {
    let own = ranks.rank();
    (0..ranks.count()).map(|rank| if rank == own { &[] } else { bytes(rank) }).collect()
}

/// Makes sure that all ranks have the same of what is named, or says which one has something else.
///
/// # Errors
/// If one has, or is gone.
pub fn same(ranks: &dyn Ranks, what: &'static str, digest: [u8; 32]) -> Result<(), Error> {
    let mut digests = vec![[0; 32]; ranks.count()];
    digests[ranks.rank()] = digest;
    gather(ranks, &mut digests, |rank| rank..rank + 1)?;
    match digests.iter().position(|other| *other != digests[0]) {
        None => Ok(()),
        Some(rank) => Err(Error::OtherRank { rank, what }),
    }
}

/// A sum whose order is that of a binary tree over the summands: neighbours first, then neighbouring
/// pairs. A part of it that is a whole subtree can be summed elsewhere.
#[derive(Debug, Default)]
pub struct Tree<T> {
    /// The summands in each of the sums, in order.
    nodes: Vec<Range<usize>>,
    /// As many, and perhaps some to be used again.
    sums: Vec<Aligned<T>>,
    /// Room for what comes from other ranks: a slice of each sum that one has.
    received: Vec<Vec<Vec<T>>>,
}

impl<T: Real> Tree<T> {
    /// An empty sum of so many values.
    pub fn new(len: usize) -> Self {
        Self {
            nodes: Vec::with_capacity(1),
            sums: vec![Aligned::new(T::ZERO, len)],
            received: Vec::new(),
        }
    }

    /// Begins anew.
    pub fn clear(&mut self) {
        self.nodes.clear();
    }

    /// What [`total`](Self::total) has found.
    pub fn sum(&self) -> &[T] {
        &self.sums[0]
    }

    /// Adds the sum of the summands `node`, which `write` writes.
    pub fn push(&mut self, node: Range<usize>, write: impl FnOnce(&mut [T])) {
        let place = self.nodes.len();
        if place == self.sums.len() {
            self.sums.push(Aligned::new(T::ZERO, self.sums[0].len()));
        }
        write(&mut self.sums[place]);
        insert(&mut self.nodes, node, |right| add_to_left(&mut self.sums, right));
    }

    /// The sum of all. A number of summands that is no power of two leaves subtrees of several sizes;
    /// the smallest are added first.
    pub fn total(&mut self) -> &mut [T] {
        while 1 < self.nodes.len() {
            merge(&mut self.nodes);
            add_to_left(&mut self.sums, self.nodes.len());
        }
        &mut self.sums[0]
    }
}

fn add_to_left<T: Real>(sums: &mut [Aligned<T>], right: usize) {
    let (left, rest) = sums.split_at_mut(right);
    add(&rest[0], &mut left[right - 1]);
}

/// Puts a node behind others, and what makes siblings into their parent. `merged` hears the place of
/// each right one.
fn insert(nodes: &mut Vec<Range<usize>>, node: Range<usize>, mut merged: impl FnMut(usize)) {
    let siblings = |left: &Range<usize>, right: &Range<usize>| {
        left.len() == right.len() && left.start.is_multiple_of(2 * left.len())
    };
    nodes.push(node);
    while let [.., left, right] = &nodes[..]
        && siblings(left, right)
    {
        merge(nodes);
        merged(nodes.len());
    }
}

/// Makes the last two nodes one.
fn merge(nodes: &mut Vec<Range<usize>>) {
    let right = nodes.pop().expect("two of them");
    nodes.last_mut().expect("two of them").end = right.end;
}

/// The subtrees that a [`Tree`] makes of some of its summands.
fn subtrees(summands: Range<usize>) -> Vec<Range<usize>> {
    let mut nodes = Vec::new();
    summands.for_each(|summand| insert(&mut nodes, summand..summand + 1, |_| ()));
    nodes
}

/// Completes a sum of which every rank has its share of `shards` summands: each rank adds up a part of
/// the values, from all ranks, and tells the others.
///
/// # Errors
/// If a rank is gone.
pub fn complete<'t, T: Real + Pod>(
    ranks: &dyn Ranks,
    tree: &'t mut Tree<T>,
    shards: usize,
) -> Result<&'t mut [T], Error> {
    let (rank, count) = (ranks.rank(), ranks.count());
    if count == 1 {
        return Ok(tree.total());
    }
    let len = tree.sums[0].len();
    let part = |rank| share(len, rank, count);
    let nodes: Vec<_> = (0..count).map(|rank| subtrees(share(shards, rank, count))).collect();
    let Tree { sums, received, .. } = tree;
    received.resize(count, Vec::new());
    for (other, received) in received.iter_mut().enumerate().filter(|(other, _)| *other != rank) {
        received.resize(nodes[other].len(), Vec::new());
        received.iter_mut().for_each(|slice| slice.resize(part(rank).len(), T::ZERO));
    }
    for round in 0..nodes.iter().map(Vec::len).max().unwrap_or_default() {
        let sent = sums.get(round).filter(|_| round < nodes[rank].len());
        let to = to_others(ranks, |other| sent.map_or(&[], |sum| cast_slice(&sum[part(other)])));
        let slices = received.iter_mut().map(|received| received.get_mut(round));
        let slices = slices.map(|slice| slice.map_or(&mut [][..], |slice| cast_slice_mut(slice)));
        ranks.exchange(&to, &mut slices.collect::<Vec<_>>())?;
    }

    let mut own = sums.iter_mut().map(|sum| &mut sum[part(rank)]);
    let slices = received.iter_mut().enumerate().flat_map(|(other, received)| {
        let of_other = received.iter_mut().map(Vec::as_mut_slice);
        let of_own = own.by_ref().take(if other == rank { nodes[rank].len() } else { 0 });
        of_other.chain(of_own).collect::<Vec<_>>()
    });
    add_up(nodes.concat().into_iter().zip(slices));
    if rank != 0 {
        sums[0][part(rank)].copy_from_slice(&received[0][0]);
    }
    tree.nodes.clear();
    tree.nodes.push(0..shards);
    gather(ranks, &mut tree.sums[0], part)?;
    Ok(tree.total())
}

/// Adds up the sums of subtrees, all of a [`Tree`] in its order. Overwrites them; the first becomes the sum
/// of all.
fn add_up<'s, T: Real>(subtrees: impl Iterator<Item = (Range<usize>, &'s mut [T])>) {
    let (mut nodes, mut sums) = (Vec::new(), Vec::<&mut [T]>::new());
    let add_to_left = |sums: &mut Vec<&mut [T]>| {
        let right = sums.pop().expect("two of them");
        add(right, sums.last_mut().expect("two of them"));
    };
    for (node, sum) in subtrees {
        sums.push(sum);
        insert(&mut nodes, node, |_| add_to_left(&mut sums));
    }
    while 1 < sums.len() {
        add_to_left(&mut sums);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Three numbers whose sum depends on the order it is taken in.
    fn summand(shard: usize) -> [f32; 3] {
        let value = |at: usize| ((shard * 37 + at * 11) % 19) as f32 / 7.0 + 1e-3 * shard as f32;
        [value(0), value(1), value(2)]
    }

    fn sum(shards: Range<usize>) -> Tree<f32> {
        let mut tree = Tree::new(3);
        shards.for_each(|shard| {
            tree.push(shard..shard + 1, |to| to.copy_from_slice(&summand(shard)))
        });
        tree
    }

    #[test]
    fn a_tree_adds_neighbours_first() {
        let [a, b, c, d, e] = [0, 1, 2, 3, 4].map(|shard| summand(shard)[0]);
        assert_eq!(sum(0..5).total()[0], ((a + b) + (c + d)) + e);
        assert_eq!(sum(0..3).total()[0], (a + b) + c);
    }

    #[test]
    fn parts_of_a_tree_give_the_bits_of_the_whole() {
        for shards in 1..20 {
            for count in 1..=shards {
                let mut whole = Tree::new(3);
                for rank in 0..count {
                    let own = share(shards, rank, count);
                    let part = sum(own.clone());
                    assert_eq!(part.nodes, subtrees(own));
                    for (node, sum) in part.nodes.iter().zip(&part.sums) {
                        whole.push(node.clone(), |to| to.copy_from_slice(sum));
                    }
                }
                assert_eq!(whole.total(), sum(0..shards).total(), "{shards} on {count}");
            }
        }
    }
}
