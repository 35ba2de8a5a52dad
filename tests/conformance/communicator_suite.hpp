#pragma once
// The contract of Communicator, for any implementation: include this once in a test that defines
// run_ranks. communicator_faults.hpp adds what it owes when ranks misbehave.
#include "conformance/communicator_copies.hpp"
#include "conformance/communicator_groups.hpp"
#include "conformance/communicator_sums.hpp"
