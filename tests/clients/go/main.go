// Command client works for WORK_SECONDS under the Pyroscope SDK: 70 % in
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

func workUntil(end time.Time) uint32 {
	var sum uint32
	for time.Now().Before(end) {
		sum += heavySeventy() + middleTwenty() + lightTen()
	}
	return sum
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
func contend(end time.Time) {
	var mutex sync.Mutex
	var waiters sync.WaitGroup
	for range 2 {
		waiters.Go(func() {
			for time.Now().Before(end) {
				mutex.Lock()
				time.Sleep(20 * time.Millisecond)
				mutex.Unlock()
			}
		})
	}
	waiters.Wait()
}

func workSeconds() (time.Duration, error) {
	text, set := os.LookupEnv("WORK_SECONDS")
	if !set {
		return 12 * time.Second, nil
	}
	seconds, err := strconv.Atoi(text)
	return time.Duration(seconds) * time.Second, err
}

func run() error {
	duration, err := workSeconds()
	if err != nil {
		return fmt.Errorf("WORK_SECONDS: %w", err)
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
	end := time.Now().Add(duration)
	kept := allocateRecords()
	go contend(end)
	pyroscope.TagWrapper(context.Background(), pyroscope.Labels("endpoint", "/orders"), func(context.Context) {
		workUntil(end)
	})
	fmt.Printf("done, %d records kept\n", len(kept))
	return profiler.Stop()
}

func main() {
	if err := run(); err != nil {
		log.Fatal(err)
	}
}
