#include <fmt/format.h>

#include <algorithm>

#include "sherd/base/errors.hpp"
#include "sherd/checkpoint/checkpoint.hpp"
#include "sherd/checkpoint/parameters_hash.hpp"

namespace sherd::checkpoint {
namespace {

constexpr std::uint64_t portion = 1 << 16;  // elements at once; whole quanta

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

std::vector<std::string> Checkpoint::verify() const {
  std::vector<std::string> problems;
  // Bytes between extents too: all of each file is under a checksum.
  for (std::uint32_t f = 0; f < manifest_.contents.files.size(); ++f) {
    const FileEntry& file = manifest_.contents.files[f];
    for (std::uint64_t b = 0; b < file.blocks.size(); ++b) {
      try {
        std::byte first[1];
        read_bytes(f, b * block_bytes, first);
      } catch (const DataError& error) {
        problems.emplace_back(error.what());
      }
    }
  }
  if (!problems.empty()) return problems;
  std::vector<std::byte> bytes;
  for (const Tensor& tensor : manifest_.contents.tensors) {
    const auto numel = static_cast<std::uint64_t>(tensor.shape.numel());
    for (const TensorState& state : tensor.states) {
      Digest sum{};
      for (std::uint64_t done = 0; done < numel; done += portion) {
        const std::uint64_t count = std::min(portion, numel - done);
        bytes.resize(packed_bytes(state.type, count));
        read(tensor, state.state, done, count, bytes);
        add(sum, digest_of(state.type, done / 256, count, bytes.data()));
      }
      if (sum != state.digest)
        problems.push_back(fmt::format("{}: tensor '{}', {}: is not what was saved", folder_,
                                       tensor.name, name_of(state.state)));
    }
  }
  return problems;
}

}  // namespace sherd::checkpoint
