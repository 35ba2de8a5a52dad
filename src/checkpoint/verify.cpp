#include <fmt/format.h>

#include <algorithm>
#include <set>
#include <utility>

#include "sherd/base/errors.hpp"
#include "sherd/checkpoint/checkpoint.hpp"
#include "sherd/checkpoint/parameters_hash.hpp"

namespace sherd::checkpoint {
namespace {

constexpr std::uint64_t portion = 1 << 16;  // elements at once; whole quanta

/// Problems in the order they are found, each once: a block that is damaged may hold several
/// tensors.
class Problems {
 public:
  void add(const std::string& problem) {
    if (known_.insert(problem).second) all_.push_back(problem);
  }
  [[nodiscard]] std::vector<std::string> all() && { return std::move(all_); }

 private:
  std::set<std::string> known_;
  std::vector<std::string> all_;
};

using BlockSet = std::vector<std::vector<bool>>;  // by file

void mark(BlockSet& blocks, const TensorState& state) {
  for (const Extent& e : state.extents) {
    const Bytes end = e.offset + packed_bytes(state.type, e.count);
    for (Bytes b = e.offset / block_bytes; b * block_bytes < end; ++b) blocks[e.file][b] = true;
  }
}

}  // namespace

std::string Checkpoint::parameters_hash() const {
  Digest sum{};
  std::vector<float> values;
  for (const Tensor& tensor : manifest_.contents.tensors) {
    const auto numel = static_cast<std::uint64_t>(tensor.shape.numel());
    for (std::uint64_t done = 0; done < numel; done += portion) {
      values.resize(std::min(portion, numel - done));
      read_weights(tensor, done, values);
      add_weights(sum, tensor.name, done, values);
    }
  }
  return hash_text(sum);
}

// What is good is read once: blocks with tensors as those are summed, then the others.
std::vector<std::string> Checkpoint::verify() const {
  Problems problems;
  BlockSet seen;
  for (const FileEntry& file : manifest_.contents.files)
    seen.emplace_back(file.blocks.size(), false);
  std::vector<std::byte> bytes;
  for (const Tensor& tensor : manifest_.contents.tensors) {
    const auto numel = static_cast<std::uint64_t>(tensor.shape.numel());
    for (const TensorState& state : tensor.states) {
      Digest sum{};
      bool read_all = true;
      for (std::uint64_t done = 0; done < numel; done += portion) {
        const std::uint64_t count = std::min(portion, numel - done);
        bytes.resize(packed_bytes(state.type, count));
        try {
          read(tensor, state.state, done, count, bytes);
          add(sum, digest_of(state.type, done / 256, count, bytes.data()));
        } catch (const DataError& error) {
          problems.add(error.what());
          read_all = false;
        }
      }
      if (read_all) mark(seen, state);
      if (read_all && sum != state.digest)
        problems.add(fmt::format("{}: tensor '{}', {}: is not what was saved", folder_, tensor.name,
                                 name_of(state.state)));
    }
  }
  for (std::uint32_t f = 0; f < seen.size(); ++f) {
    for (std::uint64_t b = 0; b < seen[f].size(); ++b) {
      if (seen[f][b]) continue;
      try {
        std::byte first[1];
        read_bytes(f, b * block_bytes, first);
      } catch (const DataError& error) {
        problems.add(error.what());
      }
    }
  }
  return std::move(problems).all();
}

}  // namespace sherd::checkpoint
