//! Works for `WORK_CPU_SECONDS` under the Pyroscope SDK: 70 % in `heavy_seventy`, 20 % in `middle_twenty`,
//! 10 % in `light_ten`.

use std::env;
use std::error::Error;
use std::hint::black_box;
use std::time::Duration;

use pyroscope::backend::{BackendConfig, PprofConfig, pprof_backend};
use pyroscope::pyroscope::PyroscopeAgentBuilder;
use rustix::time::{ClockId, clock_gettime};

const UNIT: u32 = 1000;
const SAMPLE_RATE_HZ: u32 = 100;
const UPLOAD_INTERVAL: Duration = Duration::from_secs(3);

#[inline(never)]
fn heavy_seventy() -> u32 {
    spin(7 * UNIT)
}

#[inline(never)]
fn middle_twenty() -> u32 {
    spin(2 * UNIT)
}

#[inline(never)]
fn light_ten() -> u32 {
    spin(UNIT)
}

#[inline(always)]
fn spin(steps: u32) -> u32 {
    (0..steps).fold(1, |state: u32, _| black_box(state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223)))
}

fn work_for(cpu: Duration) {
    let end = cpu_time() + cpu;
    while cpu_time() < end {
        black_box(heavy_seventy());
        black_box(middle_twenty());
        black_box(light_ten());
    }
}

fn cpu_time() -> Duration {
    clock_gettime(ClockId::ThreadCPUTime).try_into().expect("CPU time is positive")
}

fn main() -> Result<(), Box<dyn Error>> {
    let seconds = match env::var("WORK_CPU_SECONDS") {
        Ok(text) => text.parse()?,
        Err(_) => 12,
    };
    let backend = pprof_backend(PprofConfig { sample_rate: SAMPLE_RATE_HZ }, BackendConfig::default());
    let agent = PyroscopeAgentBuilder::new(
        env::var("PYROSCOPE_SERVER_ADDRESS")?,
        env::var("PYROSCOPE_APPLICATION_NAME")?,
        SAMPLE_RATE_HZ,
        "pyroscope-rs",
        env!("CARGO_PKG_VERSION"),
        backend,
    )
    .tags(vec![("stage", "test")])
    .upload_interval(UPLOAD_INTERVAL)
    .build()?
    .start()?;
    let (add_tag, remove_tag) = agent.tag_wrapper();
    add_tag("endpoint".to_owned(), "/orders".to_owned())?;
    work_for(Duration::from_secs(seconds));
    remove_tag("endpoint".to_owned(), "/orders".to_owned())?;
    agent.stop()?.shutdown();
    println!("done");
    Ok(())
}
