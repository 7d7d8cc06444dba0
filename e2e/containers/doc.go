// Package containers tests Quorate as most users run it: the image of the Dockerfile in the fleet of compose.yaml, on a real
// Docker Engine, with nothing of the product's own between a fault and the cluster: `docker kill`, `docker network
// disconnect`, restarts that change addresses, volumes that are lost.
//
// It imports nothing of the product. It needs a Docker Engine that it may use and Compose, either as `docker compose` or as
// `docker-compose`; without them it is skipped, unless QUORATE_REQUIRE names docker: then it fails. Where no registry can be
// reached, base-images.sh makes the base images from what is on the machine; the Dockerfile is built unchanged.
//
// How the tests are kept honest:
//
//  1. Everything they make (images, containers, networks, volumes) bears a name of this run, and is removed when it ends, also
//     when it fails. Nothing else is touched.
//  2. The ports published on the host are free ones, on the loopback address.
//  3. Each key has one writer, so what a read may return is known exactly: not less than what was acknowledged before it
//     began, not more than what was tried before it ended.
//  4. An error of a request is excused only if the request was under way at the moment of the kill or the cut, or was made on
//     the side that was cut off. An excuse is a time, taken around the command, and never a guess.
package containers
