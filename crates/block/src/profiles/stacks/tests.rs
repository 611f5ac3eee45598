use proptest::prelude::*;

use super::*;

/// A tree in depth-first order: each step says how far up to go and which location comes next.
fn tree(steps: &[(usize, u32)]) -> StackTree {
    let mut tree = StackTree::default();
    let mut path = vec![StackId(0)];
    for &(levels, location) in steps {
        path.truncate(path.len().saturating_sub(levels).max(1));
        path.push(tree.push(path[path.len() - 1], LocationId(location)));
    }
    tree
}

proptest! {
    #[test]
    fn trees_round_trip(steps in prop::collection::vec((0usize..4, 0u32..9), 0..300)) {
        let tree = tree(&steps);
        let bytes = encode(&tree, &mut Encoder::new(3));
        prop_assert_eq!(decode(&bytes, 9), Ok(tree));
    }

    #[test]
    fn damage_is_an_error_or_a_tree(
        steps in prop::collection::vec((0usize..4, 0u32..9), 0..50), at: prop::sample::Index, byte: u8,
    ) {
        let mut bytes = encode(&tree(&steps), &mut Encoder::new(3));
        let at = at.index(bytes.len());
        bytes[at] = byte;
        if let Ok(tree) = decode(&bytes, 9) {
            prop_assert_eq!(tree.parent.len(), tree.location.len());
            prop_assert!((1..tree.len()).all(|node| tree.parent[node].index() < node && tree.location[node].0 < 9));
        }
    }

    #[test]
    fn leaves_round_trip(leaves in prop::collection::btree_set(0u32..1000, 0..100)) {
        let leaves: Vec<StackId> = leaves.into_iter().map(StackId).collect();
        prop_assert_eq!(decode_leaves(&encode_leaves(&leaves, &mut Encoder::new(3))), Ok(leaves));
    }
}

#[test]
fn other_orders_are_told_apart() {
    let mut breadth_first = StackTree::default();
    let a = breadth_first.push(StackId(0), LocationId(0));
    breadth_first.push(StackId(0), LocationId(1));
    assert!(is_depth_first(&breadth_first));
    breadth_first.push(a, LocationId(2));
    assert!(!is_depth_first(&breadth_first));
}

#[test]
fn a_location_that_does_not_exist_is_refused() {
    let bytes = encode(&tree(&[(0, 4)]), &mut Encoder::new(3));
    assert!(decode(&bytes, 5).is_ok());
    assert!(decode(&bytes, 4).is_err());
}
