#pragma once
// The ranks and how they talk.
#include <cstdint>
#include <string>

namespace sherd::comm {

enum class Backend : std::uint8_t { automatic, local, nccl };
struct RanksConfig {
  int ranks = 1;  // processes on this machine
  Backend backend = Backend::automatic;
  std::string device = "auto";  // "auto", "cpu", "cuda" or "cuda:INDEX"
  int threads = 0;              // per rank; 0: cores the process may use / ranks
  bool pin_threads = false;     // each rank to its share of the cores, each thread to one
  double timeout = 60;          // seconds a collective may take
};

}  // namespace sherd::comm
