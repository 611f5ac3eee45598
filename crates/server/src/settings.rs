//! Named values that front ends keep on the server, per tenant, in one small file.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

use argand_model::TenantId;
use connectrpc::ErrorCode;
use serde::{Deserialize, Serialize};

use crate::backend::SettingsFile;
use crate::error::{ApiError, ServerError};

/// Bounds of what a front end may keep here.
const MAX_NAME_BYTES: usize = 256;
const MAX_VALUE_BYTES: usize = 256 << 10;
const MAX_SETTINGS_PER_TENANT: usize = 100;
const MAX_TENANTS: usize = 1000;

/// One named value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Setting {
    pub(crate) name: String,
    pub(crate) value: String,
    /// Unix milliseconds.
    pub(crate) modified_at_ms: i64,
}

type Tenants = BTreeMap<String, BTreeMap<String, Setting>>;

/// The settings of all tenants.
pub(crate) struct Settings {
    file: Arc<dyn SettingsFile>,
    tenants: Mutex<Tenants>,
}

impl Settings {
    /// Reads the file. Errors: it cannot be read or is not ours.
    pub(crate) fn load(file: Arc<dyn SettingsFile>) -> Result<Self, ServerError> {
        let content = file.load().map_err(|error| ServerError::Settings(error.into()))?;
        let tenants = match content {
            Some(content) => serde_json::from_slice(&content).map_err(|error| ServerError::Settings(error.into()))?,
            None => Tenants::new(),
        };
        Ok(Self { file, tenants: Mutex::new(tenants) })
    }

    /// A tenant's settings, sorted by name.
    pub(crate) fn get(&self, tenant: &TenantId) -> Vec<Setting> {
        self.lock().get(tenant.as_str()).map(|settings| settings.values().cloned().collect()).unwrap_or_default()
    }

    /// Sets a value. Errors: `already_exists` where a newer one is stored, `invalid_argument`, `resource_exhausted`.
    pub(crate) fn set(&self, tenant: &TenantId, setting: Setting) -> Result<Setting, ApiError> {
        check(&setting)?;
        let mut tenants = self.lock();
        let mut changed = tenants.clone();
        let settings = changed.entry(tenant.to_string()).or_default();
        if settings.get(&setting.name).is_some_and(|stored| stored.modified_at_ms > setting.modified_at_ms) {
            let message = format!("setting {:?} was changed in the meantime: read it again", setting.name);
            return Err(ApiError::new(ErrorCode::AlreadyExists, message));
        }
        settings.insert(setting.name.clone(), setting.clone());
        if settings.len() > MAX_SETTINGS_PER_TENANT || changed.len() > MAX_TENANTS {
            return Err(ApiError::exhausted("too many settings are stored: delete some"));
        }
        self.save(&changed)?;
        *tenants = changed;
        Ok(setting)
    }

    /// Removes a value, if it is there.
    pub(crate) fn delete(&self, tenant: &TenantId, name: &str) -> Result<(), ApiError> {
        if name.is_empty() {
            return Err(ApiError::invalid("the setting has no name"));
        }
        let mut tenants = self.lock();
        let mut changed = tenants.clone();
        if changed.get_mut(tenant.as_str()).and_then(|settings| settings.remove(name)).is_some() {
            self.save(&changed)?;
            *tenants = changed;
        }
        Ok(())
    }

    fn save(&self, tenants: &Tenants) -> Result<(), ApiError> {
        let content = serde_json::to_vec(tenants).expect("settings are plain maps and strings");
        self.file.save(&content).map_err(|error| {
            tracing::error!(%error, "cannot save settings");
            ApiError::unavailable("settings cannot be saved now")
        })
    }

    fn lock(&self) -> MutexGuard<'_, Tenants> {
        self.tenants.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

fn check(setting: &Setting) -> Result<(), ApiError> {
    let message = match (setting.name.len(), setting.value.len()) {
        (0, _) => "the setting has no name".to_owned(),
        (_, 0) => "the setting has no value".to_owned(),
        (name, _) if name > MAX_NAME_BYTES => format!("the name is longer than {MAX_NAME_BYTES} bytes"),
        (_, value) if value > MAX_VALUE_BYTES => format!("the value is longer than {MAX_VALUE_BYTES} bytes"),
        _ => return Ok(()),
    };
    Err(ApiError::invalid(message))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Default)]
    struct MemoryFile {
        content: Mutex<Option<Vec<u8>>>,
        broken: std::sync::atomic::AtomicBool,
    }

    impl SettingsFile for MemoryFile {
        fn load(&self) -> std::io::Result<Option<Vec<u8>>> {
            Ok(self.content.lock().unwrap().clone())
        }

        fn save(&self, content: &[u8]) -> std::io::Result<()> {
            if self.broken.load(std::sync::atomic::Ordering::Relaxed) {
                return Err(std::io::Error::other("disk full"));
            }
            *self.content.lock().unwrap() = Some(content.to_vec());
            Ok(())
        }
    }

    fn setting(name: &str, value: &str, modified_at_ms: i64) -> Setting {
        Setting { name: name.into(), value: value.into(), modified_at_ms }
    }

    #[test]
    fn settings_survive_a_restart_and_belong_to_a_tenant() {
        let file = Arc::new(MemoryFile::default());
        let tenant = TenantId::anonymous();
        let settings = Settings::load(file.clone()).unwrap();
        settings.set(&tenant, setting("b", "2", 1)).unwrap();
        settings.set(&tenant, setting("a", "1", 1)).unwrap();
        let again = Settings::load(file).unwrap();
        assert_eq!(again.get(&tenant), [setting("a", "1", 1), setting("b", "2", 1)]);
        assert_eq!(again.get(&"other".parse().unwrap()), []);
        again.delete(&tenant, "a").unwrap();
        assert_eq!(again.get(&tenant), [setting("b", "2", 1)]);
    }

    #[test]
    fn a_newer_value_is_not_overwritten() {
        let settings = Settings::load(Arc::new(MemoryFile::default())).unwrap();
        let tenant = TenantId::anonymous();
        settings.set(&tenant, setting("a", "new", 9)).unwrap();
        assert_eq!(settings.set(&tenant, setting("a", "old", 8)).unwrap_err().http_status(), 409);
        settings.set(&tenant, setting("a", "newer", 9)).unwrap();
    }

    #[test]
    fn what_cannot_be_saved_is_not_shown() {
        let file = Arc::new(MemoryFile::default());
        let settings = Settings::load(file.clone()).unwrap();
        file.broken.store(true, std::sync::atomic::Ordering::Relaxed);
        let tenant = TenantId::anonymous();
        assert_eq!(settings.set(&tenant, setting("a", "1", 1)).unwrap_err().http_status(), 503);
        assert_eq!(settings.get(&tenant), []);
    }

    #[test]
    fn bounds_hold() {
        let settings = Settings::load(Arc::new(MemoryFile::default())).unwrap();
        let tenant = TenantId::anonymous();
        for bad in [setting("", "1", 1), setting("a", "", 1), setting("a", &"x".repeat(MAX_VALUE_BYTES + 1), 1)] {
            assert_eq!(settings.set(&tenant, bad).unwrap_err().http_status(), 400);
        }
        for i in 0..MAX_SETTINGS_PER_TENANT {
            settings.set(&tenant, setting(&i.to_string(), "x", 1)).unwrap();
        }
        assert_eq!(settings.set(&tenant, setting("one more", "x", 1)).unwrap_err().http_status(), 429);
        settings.set(&tenant, setting("0", "y", 1)).unwrap();
    }

    #[test]
    fn a_damaged_file_stops_the_start() {
        let file = MemoryFile { content: Mutex::new(Some(b"{".to_vec())), ..MemoryFile::default() };
        assert!(Settings::load(Arc::new(file)).is_err());
    }
}
