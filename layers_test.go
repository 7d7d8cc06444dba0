package quorate_test

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/quorate/quorate"

// layers is the table of the packages, lowest line first. An import goes only to a lower line; packages of
// one line do not import each other. A package that is not in it has no place in the project yet.
var layers = [][]string{
	{"internal/mutation", "internal/ration", "internal/wire"},
	{"version", "ring", "quorum", "fault", "internal/history"},
	{"ring/layouts"}, // which layouts of package ring count: a protocol of its own above it
	{"store", "cluster", "transport", "internal/check"},
	{"coordinator", "repair", "antientropy"},
	{"node"},
	{"http", "internal/child"},
	{"bench/fleet", "bench/workload"},
	{"bench/load", "bench/staleness", "internal/sim"},
	{"cmd/quorate"},
}

// outside are the packages that stand beside the layers: the root, which is empty, and the tests of real
// processes. They see the product as a user does, and import nothing of it.
var outside = []string{".", "e2e", "e2e/containers"}

// owners says which package alone may know a library, so that the library can be replaced there. Tests may
// use them where they like: a file system in memory, say.
var owners = map[string]string{
	"github.com/hashicorp/memberlist":         "cluster",
	"github.com/cockroachdb/pebble":           "store",
	"github.com/cbergoon/merkletree":          "antientropy",
	"github.com/go-chi/chi":                   "http",
	"github.com/spf13/cobra":                  "cmd/quorate",
	"github.com/spf13/pflag":                  "cmd/quorate",
	"gopkg.in/yaml.v3":                        "cmd/quorate",
	"github.com/HdrHistogram/hdrhistogram-go": "bench/load",
	"github.com/valyala/fasthttp":             "bench/load",
	"github.com/anishathalye/porcupine":       "internal/check",
}

// narrow lists the packages that may import less than their line allows: the bench tool talks to a cluster
// from outside only, so it gets the HTTP client, the words of fault rules and levels, and nothing else of a node.
var narrow = map[string][]string{
	"internal/check":  {"version", "ring", "internal/history"},
	"internal/child":  {},
	"bench/fleet":     {"http", "fault", "internal/child"},
	"bench/workload":  {},
	"bench/load":      {"http", "bench/fleet", "bench/workload"},
	"bench/staleness": {"http", "fault", "quorum", "internal/history", "bench/fleet"},
}

// pureLines are the lines whose packages decide and never act; pure are packages above them that are held to their
// rule all the same.
const pureLines = 3

var pure = []string{"bench/workload", "internal/check"}

// impure are the imports and calls that would bring a goroutine, a clock, I/O or global chance into the
// lowest lines and the pure packages above them, which decide and never act.
var (
	impureImports = []string{"os", "net", "net/http", "io/fs", "syscall", "crypto/rand", "context", "log", "log/slog", "runtime"}
	impureCalls   = []string{
		"time.Now", "time.Since", "time.Until", "time.Sleep", "time.After", "time.AfterFunc", "time.Tick", "time.NewTimer", "time.NewTicker",
		"rand.Int", "rand.IntN", "rand.Intn", "rand.Int64", "rand.Int64N", "rand.Int32", "rand.Uint32", "rand.Uint64", "rand.Uint64N",
		"rand.N", "rand.Float64", "rand.ExpFloat64", "rand.NormFloat64", "rand.Perm", "rand.Shuffle", "rand.Read",
	}
)

// source is one file of the project with the package that it belongs to, named by its folder.
type source struct {
	pkg  string
	path string
	test bool
	file *ast.File
	fset *token.FileSet
}

// imports yields the import paths of the file.
func (s source) imports() []string {
	var paths []string
	for _, spec := range s.file.Imports {
		path, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			panic(err) // the parser has read it as a string literal
		}
		paths = append(paths, path)
	}
	return paths
}

// sources parses every Go file of the module, whatever its build tags.
func sources(t *testing.T) []source {
	t.Helper()
	var found []source
	err := filepath.WalkDir(".", func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() {
			if path != "." && notOurs(path, entry.Name()) {
				return filepath.SkipDir
			}
			return nil
		}
		if filepath.Ext(path) != ".go" {
			return nil
		}
		fset := token.NewFileSet()
		file, err := parser.ParseFile(fset, path, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		found = append(found, source{
			pkg:  filepath.ToSlash(filepath.Dir(path)),
			path: filepath.ToSlash(path),
			test: strings.HasSuffix(path, "_test.go"),
			file: file,
			fset: fset,
		})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// notOurs says which folders go's own patterns leave out too: hidden ones, test data, other modules.
func notOurs(path, name string) bool {
	if strings.HasPrefix(name, ".") || strings.HasPrefix(name, "_") || name == "testdata" {
		return true
	}
	_, err := os.Stat(filepath.Join(path, "go.mod"))
	return err == nil
}

// line returns the line of a package in the table, or -1.
func line(pkg string) int {
	return slices.IndexFunc(layers, func(line []string) bool { return slices.Contains(line, pkg) })
}

// allowed returns nil if a file of package from may import package to, both of this module.
func allowed(from, to string) error {
	switch {
	case from == to:
		return nil // a package's external test
	case slices.Contains(outside, from) && to == "internal/check":
		return nil // an instrument, and no part of the product
	case slices.Contains(outside, from):
		return fmt.Errorf("%s stands outside and imports nothing of the product", from)
	case line(to) < 0:
		return fmt.Errorf("%s is not in the table", to)
	case to == "internal/sim":
		return fmt.Errorf("internal/sim is for its own tests")
	case line(to) == line(from):
		return fmt.Errorf("both are on line %d", line(from))
	case line(to) > line(from):
		return fmt.Errorf("line %d imports upwards, line %d", line(from), line(to))
	}
	if few, ok := narrow[from]; ok && !slices.Contains(few, to) {
		return fmt.Errorf("%s may import only %v", from, few)
	}
	return nil
}

func TestEveryPackageHasAPlace(t *testing.T) {
	seen := map[string]bool{}
	for _, s := range sources(t) {
		if seen[s.pkg] {
			continue
		}
		seen[s.pkg] = true
		if line(s.pkg) < 0 && !slices.Contains(outside, s.pkg) {
			t.Errorf("package %s is not in the table of layers", s.pkg)
		}
	}
}

func TestImportsGoDown(t *testing.T) {
	for _, s := range sources(t) {
		for _, path := range s.imports() {
			to, ours := strings.CutPrefix(path, module+"/")
			if !ours {
				continue
			}
			if err := allowed(s.pkg, to); err != nil {
				t.Errorf("%s imports %s: %v", s.path, to, err)
			}
		}
	}
}

func TestLibrariesHaveOneOwner(t *testing.T) {
	for _, s := range sources(t) {
		if s.test || s.pkg == "internal/sim" { // which is nothing but tests
			continue
		}
		for _, path := range s.imports() {
			for library, owner := range owners {
				if strings.HasPrefix(path, library) && s.pkg != owner {
					t.Errorf("%s imports %s, which only %s may know", s.path, path, owner)
				}
			}
		}
	}
}

func TestLowestLinesArePure(t *testing.T) {
	for _, s := range sources(t) {
		if s.test || line(s.pkg) >= pureLines && !slices.Contains(pure, s.pkg) {
			continue
		}
		for _, path := range s.imports() {
			if slices.Contains(impureImports, path) {
				t.Errorf("%s imports %s", s.path, path)
			}
		}
		ast.Inspect(s.file, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.GoStmt:
				t.Errorf("%s: starts a goroutine", s.fset.Position(n.Pos()))
			case *ast.SelectorExpr:
				pkg, ok := n.X.(*ast.Ident)
				if ok && slices.Contains(impureCalls, pkg.Name+"."+n.Sel.Name) {
					t.Errorf("%s: %s.%s", s.fset.Position(n.Pos()), pkg.Name, n.Sel.Name)
				}
			}
			return true
		})
	}
}

// TestTableRefuses holds the judge itself to account: what must be refused is.
func TestTableRefuses(t *testing.T) {
	for _, c := range []struct {
		from, to string
		ok       bool
	}{
		{"store", "version", true},
		{"cmd/quorate", "node", true},
		{"store", "store", true},
		{"bench/fleet", "http", true},
		{"bench/load", "bench/fleet", true},
		{"bench/load", "node", false},
		{"bench/fleet", "bench/workload", false},
		{"version", "ring", false},
		{"store", "transport", false},
		{"store", "node", false},
		{"node", "internal/sim", false},
		{"cmd/quorate", "internal/sim", false},
		{"e2e", "http", false},
		{"e2e/containers", "e2e", false},
		{"e2e", "internal/check", true},
		{"internal/check", "store", false},
		{".", "version", false},
		{"node", "util", false},
	} {
		if err := allowed(c.from, c.to); (err == nil) != c.ok {
			t.Errorf("%s imports %s: allowed = %v, want allowed: %v", c.from, c.to, err, c.ok)
		}
	}
}
