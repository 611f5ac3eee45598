// Command client works for WORK_CPU_SECONDS under the Pyroscope SDK: 70 % in
// heavySeventy, 20 % in middleTwenty, 10 % in lightTen.
package main

import (
	"context"
	"fmt"
	"log"
	"os"
	"runtime"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/grafana/pyroscope-go"
)

const (
	unit       = 1000
	uploadRate = 3 * time.Second
)

//go:noinline
func heavySeventy() uint32 {
	state := uint32(1)
	for range 7 * unit {
		state = state*1664525 + 1013904223
	}
	return state
}

//go:noinline
func middleTwenty() uint32 {
	state := uint32(1)
	for range 2 * unit {
		state = state*1664525 + 1013904223
	}
	return state
}

//go:noinline
func lightTen() uint32 {
	state := uint32(1)
	for range unit {
		state = state*1664525 + 1013904223
	}
	return state
}

func workFor(cpu time.Duration) uint32 {
	var sum uint32
	for end := cpuTime() + cpu; cpuTime() < end; {
		sum += heavySeventy() + middleTwenty() + lightTen()
	}
	return sum
}

func cpuTime() time.Duration {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		log.Fatalf("getrusage: %v", err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

//go:noinline
func allocateRecords() [][]byte {
	records := make([][]byte, 200)
	for i := range records {
		records[i] = make([]byte, 64<<10)
	}
	return records
}

// contend lets two goroutines wait for one mutex, for the mutex and the block profile.
func contend(done context.Context) {
	var mutex sync.Mutex
	var waiters sync.WaitGroup
	for range 2 {
		waiters.Go(func() {
			for done.Err() == nil {
				mutex.Lock()
				time.Sleep(20 * time.Millisecond)
				mutex.Unlock()
			}
		})
	}
	waiters.Wait()
}

func workCPUTime() (time.Duration, error) {
	text, set := os.LookupEnv("WORK_CPU_SECONDS")
	if !set {
		return 12 * time.Second, nil
	}
	seconds, err := strconv.Atoi(text)
	return time.Duration(seconds) * time.Second, err
}

func run() error {
	cpu, err := workCPUTime()
	if err != nil {
		return fmt.Errorf("WORK_CPU_SECONDS: %w", err)
	}
	runtime.SetMutexProfileFraction(1)
	runtime.SetBlockProfileRate(1)
	profiler, err := pyroscope.Start(pyroscope.Config{
		ApplicationName: os.Getenv("PYROSCOPE_APPLICATION_NAME"),
		ServerAddress:   os.Getenv("PYROSCOPE_SERVER_ADDRESS"),
		Tags:            map[string]string{"stage": "test"},
		UploadRate:      uploadRate,
		ProfileTypes: []pyroscope.ProfileType{
			pyroscope.ProfileCPU,
			pyroscope.ProfileAllocObjects,
			pyroscope.ProfileAllocSpace,
			pyroscope.ProfileInuseObjects,
			pyroscope.ProfileInuseSpace,
			pyroscope.ProfileGoroutines,
			pyroscope.ProfileMutexCount,
			pyroscope.ProfileMutexDuration,
			pyroscope.ProfileBlockCount,
			pyroscope.ProfileBlockDuration,
		},
	})
	if err != nil {
		return fmt.Errorf("start profiling: %w", err)
	}
	kept := allocateRecords()
	done, finish := context.WithCancel(context.Background())
	defer finish()
	go contend(done)
	pyroscope.TagWrapper(context.Background(), pyroscope.Labels("endpoint", "/orders"), func(context.Context) {
		workFor(cpu)
	})
	fmt.Printf("done, %d records kept\n", len(kept))
	return profiler.Stop()
}

func main() {
	if err := run(); err != nil {
		log.Fatal(err)
	}
}
