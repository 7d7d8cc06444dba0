package main

import (
	"fmt"
	"io"
	"os"
	"sync"
)

// progress tells a person how something long goes: on a terminal one line that is written over every second, elsewhere plain lines.
type progress struct {
	mu       sync.Mutex
	out      io.Writer
	terminal bool
	open     bool // the line is not ended
}

func newProgress(out io.Writer) *progress {
	return &progress{out: out, terminal: isTerminal(out)}
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	stat, err := f.Stat()
	return err == nil && stat.Mode()&os.ModeCharDevice != 0
}

// eraseLine goes to the beginning of the line and erases it.
const eraseLine = "\r\x1b[K"

// Phase tells that something begins or has happened: a line that stays.
func (p *progress) Phase(text string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.open {
		fmt.Fprint(p.out, eraseLine)
		p.open = false
	}
	fmt.Fprintln(p.out, text)
}

// Second tells how it stands; it replaces what the last one told.
func (p *progress) Second(text string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.terminal {
		fmt.Fprintln(p.out, text)
		return
	}
	fmt.Fprint(p.out, eraseLine, text)
	p.open = true
}

// end ends a line that is not ended.
func (p *progress) end() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.open {
		fmt.Fprintln(p.out)
		p.open = false
	}
}
