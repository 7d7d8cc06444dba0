// Package workload decides what a load does next: which kind of operation, on which key, with how large a value. It is pure: the same
// configuration, stream number and sequence of arguments give the same operations, on every machine.
//
// The mixes and distributions are those of the Yahoo! Cloud Serving Benchmark (B. Cooper et al., Benchmarking Cloud Serving Systems with YCSB,
// SoCC 2010, table 2), so that figures can be held against others'. Two things are done better than by its own program:
//
//   - Zipfian ranks are drawn exactly, by rejection-inversion (W. Hörmann, G. Derflinger, Rejection-inversion to generate variates from monotone
//     discrete distributions, 1996), not by an approximation that is off for the first ranks and has to sum a series for every new key.
//   - Ranks are scattered over the keys by a permutation, not by a hash that lets some keys share a rank and leaves a third of them without.
//
// # Invariants
//
//  1. Equal configuration, stream and arguments give equal operations; streams of one seed differ. (TestStreamsAreDeterministic)
//  2. An operation's key is below the number of keys that the caller says exist. (TestKeysExist)
//  3. Kinds come in the proportions of the mix, and keys as their distribution says. (TestMixProportions, TestZipfianIsExact,
//     TestUniformIsUniform, TestLatestPrefersTheNewest)
//  4. Scattering is a permutation: every key has one rank. (TestScatterIsAPermutation)
package workload
