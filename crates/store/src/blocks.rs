//! Blocks on disk: opened when asked for, their decoded parts kept within a budget.

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;
use std::sync::{Arc, Mutex};

use argand_block::{Block, BlockDataset, BlockError};
use argand_model::{Dataset, DatasetError, Dictionary, Labels, Matcher, ProfileTable, RowColumns, RowSlice};

use crate::disk::Disk;
use crate::error::{chain, io_error};
use crate::lock;
use crate::manifest::{BlockInfo, ulid_text};
use crate::metrics::StoreMetrics;
use crate::{StoreConfig, StoreError};

/// A block that the manifest lists. Whoever holds one keeps its file.
#[derive(Debug)]
pub(crate) struct BlockHandle {
    pub(crate) info: Arc<BlockInfo>,
}

/// Open blocks and what they keep decoded; both bounded, the least recently used go first.
pub(crate) struct Blocks {
    disk: Arc<dyn Disk>,
    metrics: Arc<StoreMetrics>,
    cache_bytes: usize,
    max_open: usize,
    cache: Mutex<Cache>,
    /// Blocks that gave an error, with it: the scrub looks at them first.
    suspects: Mutex<BTreeMap<u128, String>>,
}

#[derive(Default)]
struct Cache {
    clock: u64,
    open: HashMap<u128, OpenBlock>,
    decoded: HashMap<(u128, usize), Decoded>,
    decoded_order: BTreeMap<u64, (u128, usize)>,
    decoded_bytes: usize,
}

struct OpenBlock {
    block: Arc<Block>,
    used: u64,
}

struct Decoded {
    dataset: Arc<BlockDataset>,
    bytes: usize,
    used: u64,
}

impl Blocks {
    pub(crate) fn new(disk: Arc<dyn Disk>, metrics: Arc<StoreMetrics>, config: &StoreConfig) -> Self {
        Self {
            disk,
            metrics,
            cache_bytes: config.cache_bytes,
            max_open: config.max_open_blocks.max(1),
            cache: Mutex::default(),
            suspects: Mutex::default(),
        }
    }

    /// The block, open; it becomes a suspect if it cannot be opened.
    pub(crate) fn open(&self, handle: &BlockHandle) -> Result<Arc<Block>, StoreError> {
        let id = handle.info.id;
        {
            let mut cache = lock::mutex(&self.cache);
            cache.clock += 1;
            let now = cache.clock;
            if let Some(open) = cache.open.get_mut(&id) {
                open.used = now;
                return Ok(open.block.clone());
            }
        }
        let block = self.open_file(&handle.info).inspect_err(|error| self.suspect(id, chain(error)))?;
        let block = Arc::new(block);
        let mut cache = lock::mutex(&self.cache);
        let used = cache.clock;
        cache.open.insert(id, OpenBlock { block: block.clone(), used });
        if cache.open.len() > self.max_open {
            let oldest = cache.open.iter().min_by_key(|(_, open)| open.used).map(|(&id, _)| id);
            oldest.into_iter().for_each(|id| cache.close(id));
        }
        Ok(block)
    }

    fn open_file(&self, info: &BlockInfo) -> Result<Block, StoreError> {
        let path = info.path();
        let file = self.disk.open(&path).map_err(io_error("open", &path))?;
        if file.len() != info.bytes {
            let reason = format!("has {} bytes instead of {}", file.len(), info.bytes);
            return Err(StoreError::Damaged { path, reason });
        }
        let block = Block::open(file).map_err(|source| StoreError::Block { path: path.clone(), source })?;
        if (block.meta().id, &block.meta().tenant) != (info.id, &info.tenant) {
            return Err(StoreError::Damaged { path, reason: "it is another block".to_owned() });
        }
        Ok(block)
    }

    /// Its datasets, each with a cache; blocks that cannot be opened give a warning.
    pub(crate) fn datasets(self: &Arc<Self>, handle: &Arc<BlockHandle>) -> Result<Vec<BlockPart>, StoreError> {
        let block = self.open(handle)?;
        let part = |index| BlockPart {
            blocks: self.clone(),
            handle: handle.clone(),
            dataset: block.dataset(index),
            index,
            _block: block.clone(),
        };
        Ok((0..block.datasets().len()).map(part).collect())
    }

    /// Forgets a block that is no longer part of the store.
    pub(crate) fn forget(&self, id: u128) {
        lock::mutex(&self.cache).close(id);
        lock::mutex(&self.suspects).remove(&id);
    }

    pub(crate) fn suspect(&self, id: u128, reason: String) {
        tracing::warn!(block = ulid_text(id), reason, "block cannot be read");
        lock::mutex(&self.suspects).insert(id, reason);
    }

    /// Takes a suspect to check, if there is one.
    pub(crate) fn take_suspect(&self) -> Option<u128> {
        lock::mutex(&self.suspects).pop_first().map(|(id, _)| id)
    }

    pub(crate) fn is_suspect(&self, id: u128) -> bool {
        lock::mutex(&self.suspects).contains_key(&id)
    }

    pub(crate) fn has_suspects(&self) -> bool {
        !lock::mutex(&self.suspects).is_empty()
    }

    /// Reads the whole block and checks everything. `Ok(Some)` says what is damaged; errors say that reading failed
    /// and nothing is known.
    pub(crate) fn verify(&self, info: &BlockInfo) -> Result<Option<String>, StoreError> {
        let block = match self.open_file(info) {
            Ok(block) => block,
            Err(error) if is_damage(&error) => return Ok(Some(chain(&error))),
            Err(error) => return Err(error),
        };
        let errors = block.verify();
        if let Some(damage) = errors.iter().find(|error| is_block_damage(error)) {
            return Ok(Some(format!("{} (places: {})", chain(damage), errors.len())));
        }
        match errors.into_iter().next() {
            Some(source) => Err(StoreError::Block { path: info.path(), source }),
            None => Ok(None),
        }
    }

    fn touch(&self, key: (u128, usize), dataset: &Arc<BlockDataset>) {
        let bytes = dataset.cached_bytes();
        let mut cache = lock::mutex(&self.cache);
        cache.clock += 1;
        let used = cache.clock;
        cache.forget_decoded(key);
        cache.decoded.insert(key, Decoded { dataset: dataset.clone(), bytes, used });
        cache.decoded_order.insert(used, key);
        cache.decoded_bytes += bytes;
        while cache.decoded_bytes > self.cache_bytes {
            let Some((_, oldest)) = cache.decoded_order.first_key_value() else { break };
            let oldest = *oldest;
            if let Some(decoded) = cache.forget_decoded(oldest) {
                decoded.dataset.evict();
            }
        }
        self.metrics.cache_bytes.set(cache.decoded_bytes as u64);
    }
}

/// Whether an error says that the bytes are wrong, rather than that they could not be read this time.
fn is_damage(error: &StoreError) -> bool {
    match error {
        StoreError::Damaged { .. } => true,
        StoreError::Io { source, .. } => source.kind() == std::io::ErrorKind::NotFound,
        StoreError::Block { source, .. } => is_block_damage(source),
        _ => false,
    }
}

fn is_block_damage(error: &BlockError) -> bool {
    match error {
        BlockError::Read { source, .. } => source.kind() == std::io::ErrorKind::UnexpectedEof,
        BlockError::Damaged { .. } | BlockError::Version { .. } => true,
        BlockError::Write { .. } | BlockError::Input { .. } => false,
    }
}

impl Cache {
    fn close(&mut self, id: u128) {
        self.open.remove(&id);
        let keys: Vec<_> = self.decoded.keys().filter(|key| key.0 == id).copied().collect();
        for key in keys {
            self.forget_decoded(key);
        }
    }

    fn forget_decoded(&mut self, key: (u128, usize)) -> Option<Decoded> {
        let decoded = self.decoded.remove(&key)?;
        self.decoded_order.remove(&decoded.used);
        self.decoded_bytes -= decoded.bytes;
        Some(decoded)
    }
}

/// One dataset of a block, as queries read it.
pub(crate) struct BlockPart {
    blocks: Arc<Blocks>,
    /// Held so that the file stays.
    handle: Arc<BlockHandle>,
    dataset: Arc<BlockDataset>,
    index: usize,
    /// Held so that the file stays open.
    _block: Arc<Block>,
}

impl BlockPart {
    pub(crate) fn block_id(&self) -> u128 {
        self.handle.info.id
    }

    /// Forgets the decoded parts: for readers that come once.
    pub(crate) fn evict(&self) {
        self.dataset.evict();
        self.blocks.touch((self.handle.info.id, self.index), &self.dataset);
    }

    /// Accounts for what the dataset keeps after a read, and remembers errors.
    fn noted<T>(&self, result: Result<T, DatasetError>) -> Result<T, DatasetError> {
        let id = self.handle.info.id;
        match result {
            Ok(value) => {
                self.blocks.touch((id, self.index), &self.dataset);
                Ok(value)
            }
            Err(DatasetError { place, reason }) => {
                self.blocks.suspect(id, format!("{place}: {reason}"));
                Err(DatasetError { place: format!("block {}, {place}", ulid_text(id)), reason })
            }
        }
    }
}

impl Dataset for BlockPart {
    fn service_name(&self) -> &str {
        self.dataset.service_name()
    }

    fn series(&self) -> Result<Arc<[Labels]>, DatasetError> {
        self.noted(self.dataset.series())
    }

    fn matching_series(&self, matchers: &[Matcher]) -> Result<Vec<u32>, DatasetError> {
        self.noted(self.dataset.matching_series(matchers))
    }

    fn profiles(&self) -> Result<Arc<ProfileTable>, DatasetError> {
        self.noted(self.dataset.profiles())
    }

    fn dictionary(&self) -> Result<Arc<Dictionary>, DatasetError> {
        self.noted(self.dataset.dictionary())
    }

    fn scan(
        &self,
        ranges: &[Range<u32>],
        columns: RowColumns,
        visit: &mut dyn FnMut(RowSlice<'_>),
    ) -> Result<(), DatasetError> {
        self.noted(self.dataset.scan(ranges, columns, visit))
    }
}
