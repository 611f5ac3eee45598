// A known call tree in Go: main.work calls seventy, twenty and ten.
package main

var sink uint64

//go:noinline
func burn(rounds int) {
	x := sink
	for i := 0; i < rounds; i++ {
		x = x*6364136223846793005 + 1442695040888963407
	}
	sink = x
}

//go:noinline
func seventy() { burn(700000); sink++ }

//go:noinline
func twenty() { burn(200000); sink++ }

//go:noinline
func ten() { burn(100000); sink++ }

//go:noinline
func work() { seventy(); twenty(); ten(); sink++ }

func main() {
	done := make(chan bool)
	go func() {
		for {
			work()
		}
	}()
	<-done
}
