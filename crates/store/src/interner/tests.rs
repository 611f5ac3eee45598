use super::*;

/// Symbols with one location per letter, and stacks drawn leaf first.
fn upload(letters: &str, drawn: &[&str]) -> (Symbols, Stacks) {
    let mut symbols = Symbols::default();
    let locations: Vec<LocationId> = letters.chars().map(|c| symbols.push_named_location(&c.to_string())).collect();
    let mut stacks = Stacks::default();
    for stack in drawn {
        stacks.push(stack.chars().map(|c| locations[letters.find(c).unwrap()]));
    }
    (symbols, stacks)
}

fn draw(dictionary: &Dictionary, stack: StackId) -> String {
    let name = |l| dictionary.symbols.function_name(dictionary.symbols.lines_of(l)[0].function);
    dictionary.stacks.leaf_first(stack).map(name).collect()
}

#[test]
fn equal_stacks_of_two_uploads_share_a_node() {
    let mut interner = Interner::new([1, 2]);
    let (symbols, stacks) = upload("abc", &["cba", "ba", ""]);
    let first = interner.intern_stacks(&symbols, &stacks, 0..stacks.len() as u32);
    let (symbols, stacks) = upload("xcba", &["ba", "cba", "xba"]);
    let second = interner.intern_stacks(&symbols, &stacks, 0..stacks.len() as u32);
    assert_eq!((second[0], second[1], first[2]), (first[1], first[0], StackId(0)));
    let dictionary = interner.dictionary();
    let drawn: Vec<String> = second.iter().map(|&s| draw(dictionary, s)).collect();
    assert_eq!(drawn, ["ba", "cba", "xba"]);
    assert_eq!(dictionary.stacks.len(), 5); // empty, a, ba, cba, xba
    assert_eq!(dictionary.symbols.locations.len(), 4);
    assert_eq!(dictionary.symbols.functions.len(), 5);
}

#[test]
fn another_dictionary_translates_node_by_node() {
    let mut one = Interner::new([1, 2]);
    let (symbols, stacks) = upload("ab", &["ba"]);
    let known = one.intern_stacks(&symbols, &stacks, 0..stacks.len() as u32);
    let mut other = Interner::new([3, 4]);
    let (symbols, stacks) = upload("zba", &["za", "ba"]);
    let theirs = other.intern_stacks(&symbols, &stacks, 0..stacks.len() as u32);
    let nodes = one.intern_dictionary(other.dictionary());
    assert_eq!(nodes[theirs[1].index()], known[0]);
    assert_eq!(draw(one.dictionary(), nodes[theirs[0].index()]), "za");
}

#[test]
fn readers_keep_what_they_took() {
    let mut interner = Interner::new([1, 2]);
    let (symbols, stacks) = upload("a", &["a"]);
    interner.intern_stacks(&symbols, &stacks, 0..stacks.len() as u32);
    let before = interner.dictionary().clone();
    interner.intern_stacks(&symbols, &stacks, 0..stacks.len() as u32);
    assert!(Arc::ptr_eq(&before, interner.dictionary()), "nothing new, nothing copied");
    let (symbols, stacks) = upload("b", &["b"]);
    interner.intern_stacks(&symbols, &stacks, 0..stacks.len() as u32);
    assert_eq!((before.stacks.len(), interner.dictionary().stacks.len()), (2, 3));
}

#[test]
fn places_that_differ_in_anything_stay_apart() {
    let mut symbols = Symbols::default();
    let name = symbols.strings.push("f");
    let function = symbols.push_function(Function { name, ..Function::default() });
    let at_line = symbols.push_function(Function { name, start_line: 7, ..Function::default() });
    let mapping = symbols.push_mapping(Mapping { memory_limit: 9, ..Mapping::default() });
    let line = |function, line| Line { function, line };
    let places = [
        (MappingId(0), 0, false, vec![line(function, 1)]),
        (MappingId(0), 0, false, vec![line(function, 2)]),
        (MappingId(0), 0, false, vec![line(at_line, 1)]),
        (MappingId(0), 0, true, vec![line(function, 1)]),
        (MappingId(0), 5, false, vec![line(function, 1)]),
        (mapping, 0, false, vec![line(function, 1)]),
        (MappingId(0), 0, false, vec![]),
        (MappingId(0), 0, false, vec![line(function, 1), line(function, 1)]),
    ];
    let mut stacks = Stacks::default();
    for (mapping, address, is_folded, lines) in &places {
        let location = symbols.push_location(*mapping, *address, *is_folded, lines);
        stacks.push([location]);
    }
    let mut interner = Interner::new([1, 2]);
    let mut nodes = interner.intern_stacks(&symbols, &stacks, 0..stacks.len() as u32);
    nodes.dedup();
    assert_eq!(nodes.len(), places.len());
}
