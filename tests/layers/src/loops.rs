//! Loops in a graph of files: sets in which each reaches every other.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// From each file to those that it imports.
pub(crate) type Graph = BTreeMap<usize, BTreeSet<usize>>;

/// The largest loops: each file is in one at most, and no loop leads through two of them.
pub(crate) fn largest(graph: &Graph) -> Vec<BTreeSet<usize>> {
    let reached: BTreeMap<usize, BTreeSet<usize>> = graph
        .keys()
        .map(|&file| (file, from(graph, file)))
        .collect();
    let mut loops = Vec::new();
    let mut seen = BTreeSet::new();
    for (&file, ahead) in &reached {
        let comes_back = |other: &&usize| reached.get(other).is_some_and(|on| on.contains(&file));
        let members: BTreeSet<usize> = ahead.iter().filter(comes_back).copied().collect();
        if members.len() > 1 && seen.insert(members.first().copied()) {
            loops.push(members);
        }
    }
    loops
}

/// All that a file imports, directly or through others; itself, if it is in a loop.
fn from(graph: &Graph, file: usize) -> BTreeSet<usize> {
    let mut reached = BTreeSet::new();
    let mut ahead = vec![file];
    while let Some(at) = ahead.pop() {
        for &next in graph.get(&at).into_iter().flatten() {
            if reached.insert(next) {
                ahead.push(next);
            }
        }
    }
    reached
}

/// The part of a graph that consists of these files.
pub(crate) fn among(graph: &Graph, files: &BTreeSet<usize>) -> Graph {
    let within = |next: &BTreeSet<usize>| next.intersection(files).copied().collect();
    files
        .iter()
        .filter_map(|file| Some((*file, within(graph.get(file)?))))
        .collect()
}

/// The shortest way from a file back to it, without its end.
pub(crate) fn shortest_through(graph: &Graph, file: usize) -> Option<Vec<usize>> {
    let mut ways = VecDeque::from([vec![file]]);
    let mut seen = BTreeSet::new();
    while let Some(way) = ways.pop_front() {
        for &next in graph.get(way.last()?)? {
            if next == file {
                return Some(way);
            }
            if seen.insert(next) {
                let mut longer = way.clone();
                longer.push(next);
                ways.push_back(longer);
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn graph(edges: &[(usize, usize)]) -> Graph {
        let mut graph = Graph::new();
        for &(from, to) in edges {
            graph.entry(from).or_default().insert(to);
            graph.entry(to).or_default();
        }
        graph
    }

    #[test]
    fn what_does_not_come_back_is_no_loop() {
        assert!(largest(&graph(&[(0, 1), (1, 2), (0, 2)])).is_empty());
    }

    #[test]
    fn loops_that_share_a_file_are_one() {
        let graph = graph(&[(0, 1), (1, 0), (1, 2), (2, 1), (2, 3), (4, 5), (5, 4)]);
        assert_eq!(largest(&graph), [[0, 1, 2].into(), [4, 5].into()]);
    }

    #[test]
    fn the_shortest_way_back_is_found() {
        let graph = graph(&[(0, 1), (1, 2), (2, 0), (1, 3), (3, 4), (4, 0)]);
        assert_eq!(shortest_through(&graph, 4), Some(vec![4, 0, 1, 3]));
        assert_eq!(shortest_through(&graph, 0), Some(vec![0, 1, 2]));
    }
}
