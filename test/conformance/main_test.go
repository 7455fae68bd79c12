// Runs the CRI validation and benchmark suites of cri-tools, pinned by go.mod, against the endpoint that the flags name.
package conformance

import (
	"flag"
	"testing"

	"github.com/onsi/ginkgo/v2"
	"github.com/onsi/gomega"
	_ "sigs.k8s.io/cri-tools/pkg/benchmark"
	"sigs.k8s.io/cri-tools/pkg/framework"
	_ "sigs.k8s.io/cri-tools/pkg/validate"
)

var benchmark = flag.Bool("benchmark", false, "run the benchmarks instead of the validation specs")

func init() {
	framework.RegisterFlags()
}

func TestConformance(t *testing.T) {
	gomega.RegisterFailHandler(ginkgo.Fail)
	suite, reporter := ginkgo.GinkgoConfiguration()
	if *benchmark {
		suite.FocusStrings = append(suite.FocusStrings, "benchmark")
	} else {
		suite.SkipStrings = append(suite.SkipStrings, "benchmark")
	}
	ginkgo.RunSpecs(t, "CRI", suite, reporter)
}
