// Package quorate holds no code of its own. It is the root of Quorate, a leaderless, Dynamo-style
// key-value store: README.md says what it does, ARCHITECTURE.md how, and the test beside this file holds
// the layers to what ARCHITECTURE.md says of them.
package quorate
