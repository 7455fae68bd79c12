// What kubectl does with a streaming URL, by the same library: joins this process' streams to a command, and ends with
// its exit code; or forwards ports until its standard input ends.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/url"
	"os"
	"strings"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/portforward"
	"k8s.io/client-go/tools/remotecommand"
	"k8s.io/client-go/util/exec"
	"sigs.k8s.io/cri-tools/pkg/common"
)

var (
	address   = flag.String("url", "", "the one-shot URL")
	transport = flag.String("transport", common.TransportSpdy, "spdy or websocket")
	stdin     = flag.Bool("stdin", false, "pass standard input")
	stdout    = flag.Bool("stdout", false, "pass standard output")
	stderr    = flag.Bool("stderr", false, "pass standard error")
	tty       = flag.Bool("tty", false, "the command has a terminal")
	size      = flag.String("size", "", "COLUMNSxROWS of the terminal")
	ports     = flag.String("ports", "", "LOCAL:REMOTE,...: forward these instead")
)

// oneSize tells one size and then no more.
type oneSize struct{ sizes chan remotecommand.TerminalSize }

func (s oneSize) Next() *remotecommand.TerminalSize {
	if next, more := <-s.sizes; more {
		return &next
	}
	return nil
}

func main() {
	flag.Parse()
	target, err := url.Parse(*address)
	if err == nil && *ports != "" {
		err = forward(target)
	} else if err == nil {
		err = run(target)
	}
	var ended exec.CodeExitError
	if errors.As(err, &ended) {
		os.Exit(ended.Code)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "streamclient:", err)
		os.Exit(125)
	}
}

func run(target *url.URL) error {
	executor, err := common.GetExecutor(*transport, target, &rest.TLSClientConfig{})
	if err != nil {
		return err
	}
	options := remotecommand.StreamOptions{Tty: *tty}
	if *stdin {
		options.Stdin = os.Stdin
	}
	if *stdout {
		options.Stdout = os.Stdout
	}
	if *stderr {
		options.Stderr = os.Stderr
	}
	if *size != "" {
		queue := oneSize{make(chan remotecommand.TerminalSize, 1)}
		var first remotecommand.TerminalSize
		if _, err := fmt.Sscanf(*size, "%dx%d", &first.Width, &first.Height); err != nil {
			return err
		}
		queue.sizes <- first
		options.TerminalSizeQueue = queue
	}
	return executor.StreamWithContext(context.Background(), options)
}

func forward(target *url.URL) error {
	dialer, err := common.GetDialer(*transport, target, &rest.TLSClientConfig{})
	if err != nil {
		return err
	}
	stop, ready := make(chan struct{}), make(chan struct{})
	forwarder, err := portforward.NewForStreaming(dialer, strings.Split(*ports, ","), stop, ready, os.Stdout, os.Stderr)
	if err != nil {
		return err
	}
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		close(stop)
	}()
	return forwarder.ForwardPorts()
}
