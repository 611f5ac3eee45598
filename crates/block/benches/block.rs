#[allow(missing_docs)]
mod corpus;
use std::sync::Arc;
use std::time::Instant;
use argand_block::*;
use argand_model::*;
fn best<T>(n: usize, mut f: impl FnMut() -> T) -> f64 { (0..n).map(|_| { let t = Instant::now(); std::hint::black_box(f()); t.elapsed().as_secs_f64() * 1e3 }).fold(f64::MAX, f64::min) }
fn main() {
    for (name, shape) in [("service", corpus::SERVICE), ("tiny", corpus::TINY)] {
        let d = corpus::dataset("shop", 1, shape);
        let t = Instant::now(); let d = sort_dataset(d); println!("{name}: sort {:?}", t.elapsed());
        let mut bytes = vec![];
        let ms = best(3, || { bytes.clear(); let mut w = BlockWriter::new(&mut bytes, BlockMeta { id: 1, tenant: TenantId::anonymous(), level: 0, time: TimeRange::ALL }).unwrap(); w.add(&d).unwrap(); w.finish().unwrap() });
        let n = d.stack.len() as f64;
        println!("encode {ms:.1} ms, {} bytes, {:.3} B/row, nodes {}", bytes.len(), bytes.len() as f64 / n, d.dictionary.stacks.len());
        let c = container::Container::open(Arc::new(bytes.clone()), |_| "").unwrap();
        for s in &c.groups()[0].sections { println!("  kind {} {} bytes {:.3} B/row", s.kind, s.length, s.length as f64 / n); }
        let b = Block::open(Arc::new(bytes.clone())).unwrap();
        let ds = b.dataset(0);
        let ms = best(5, || { ds.evict(); ds.dictionary().unwrap() });
        println!("dictionary {ms:.2} ms = {:.1} ms per 400k nodes; cached {}", ms * 4e5 / d.dictionary.stacks.len() as f64, ds.cached_bytes());
        let mut acc = vec![0i64; d.dictionary.stacks.len()];
        let ms = best(5, || ds.scan(&[0..d.stack.len() as u32], RowColumns::default(), &mut |r| for (s, v) in r.stack.iter().zip(r.value) { acc[s.index()] += v }).unwrap());
        println!("scan {:.1} ms per 10M", ms * 1e7 / n);
    }
}
