// Builds HashiCorp Vault from its Go module for the tests. Vault's own go.mod
// has replace lines, which `go install module@version` refuses, so a module of
// ours requires it and calls its command line. Built on the spot, never shipped
// (Vault is under HashiCorp's own licence, BUSL).
package main

import (
	"os"

	"github.com/hashicorp/vault/command"
)

func main() {
	os.Exit(command.Run(os.Args[1:]))
}
