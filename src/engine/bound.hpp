#pragma once
// The arguments of one step, made from its accesses.
#include <memory>
#include <string>
#include <vector>

#include "engine/runner.hpp"
#include "sherd/kernels/update.hpp"

namespace sherd::engine {

struct Runner::Bound {
  Batch batch;
  View in, out, d_in, d_out, scratch;
  std::vector<View> params, saves;
  std::unique_ptr<bool[]> lost;
  std::vector<Grad> grads;
  std::vector<std::uint64_t> grad_names;   // hashes, for the rounding keys
  std::vector<std::span<std::byte>> gaps;  // padding behind gradients that start here
  View shard, full, from, to;
  Write reduce_mode = Write::set;
  View inputs_host, labels_host;  // pinned, on a device
  optim::Fed* fed_host = nullptr;
  std::span<std::byte> verdict_host;
  optim::Control* control = nullptr;
  optim::EvalReport* report = nullptr;
  View vote_local, vote_global;              // as words; of the declared part
  std::vector<kernels::UpdateArgs> updates;  // a tile by parameters
  std::string label;
};

/// A copy between tiers; most steps of a program whose state is in files are these, so it is small.
struct Runner::Transfer {
  std::span<std::byte> from, to;  // in memory; of a record the one is what is staged
  Bytes offset = 0, payload = 0;  // of the record, in the file
};

}  // namespace sherd::engine
