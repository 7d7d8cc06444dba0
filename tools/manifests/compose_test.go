package manifests

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/compose-spec/compose-go/v2/cli"
	"github.com/compose-spec/compose-go/v2/types"
)

// project loads files as Compose version 2 does: checked against its schema, merged, interpolated.
func project(t *testing.T, profiles []string, files ...string) *types.Project {
	t.Helper()
	for i, file := range files {
		files[i] = "../../" + file
	}
	options, err := cli.NewProjectOptions(files, cli.WithName("quorate"), cli.WithProfiles(profiles), cli.WithInterpolation(true))
	if err != nil {
		t.Fatal(err)
	}
	p, err := options.LoadProject(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// TestCompose reads the fleet as version 2 does; version 1 reads it in the tests of e2e/containers.
func TestCompose(t *testing.T) {
	five, six := project(t, nil, "compose.yaml"), project(t, []string{"more"}, "compose.yaml")
	if len(five.Services) != 5 || len(six.Services) != 6 {
		t.Fatalf("%d services, and %d with the sixth", len(five.Services), len(six.Services))
	}
	var volumes []string
	join := five.Services["node-1"].Environment["QUORATE_JOIN"]
	for name, s := range six.Services {
		number := strings.TrimPrefix(name, "node-")
		if s.Environment["QUORATE_NAME"] == nil || *s.Environment["QUORATE_NAME"] != name || *s.Environment["QUORATE_ADVERTISE"] != name {
			t.Errorf("%s: %v", name, s.Environment)
		}
		if got := s.Environment["QUORATE_JOIN"]; *got != *join {
			t.Errorf("%s joins %s, node-1 joins %s", name, *got, *join)
		}
		if _, ok := s.Environment["QUORATE_ALLOW_FAULTS"]; ok || !s.ReadOnly || len(s.Volumes) != 1 || s.Volumes[0].Target != "/data" {
			t.Errorf("%s: faults, a root that can be written, or other volumes than its own: %+v", name, s.Volumes)
		}
		if p := s.Ports; len(p) != 1 || p[0].Published != fmt.Sprint("800", number) || p[0].HostIP != "127.0.0.1" || p[0].Target != 8080 {
			t.Errorf("%s: ports %+v", name, p)
		}
		volumes = append(volumes, s.Volumes[0].Source)
	}
	slices.Sort(volumes)
	if len(slices.Compact(volumes)) != 6 {
		t.Errorf("nodes share a volume: %v", volumes)
	}
	for name, s := range project(t, []string{"more"}, "compose.yaml", "compose.faults.yaml").Services {
		if v := s.Environment["QUORATE_ALLOW_FAULTS"]; v == nil || *v != "true" || s.Environment["QUORATE_JOIN"] == nil {
			t.Errorf("%s with compose.faults.yaml: %v", name, s.Environment)
		}
	}
}
