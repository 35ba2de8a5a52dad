#include "sherd/checkpoint/manifest.hpp"

#include <xxhash.h>

#include <algorithm>
#include <map>
#include <set>
#include <utility>

#include "sherd/base/errors.hpp"
#include "sherd/shard/layout.hpp"

namespace sherd::checkpoint {

std::string_view name_of(State state) {
  constexpr std::string_view names[] = {"param", "master", "moment1", "moment2"};
  return names[static_cast<std::size_t>(state)];
}

Digest digest_of(DType type, std::uint64_t first, std::uint64_t count, const std::byte* bytes) {
  Digest sum{};
  for (std::uint64_t done = 0; done < count; done += shard::quantum, ++first) {
    const Bytes size = packed_bytes(type, std::min(shard::quantum, count - done));
    const XXH128_hash_t one = XXH3_128bits_withSeed(bytes, size, first);
    add(sum, {one.low64, one.high64});
    bytes += size;
  }
  return sum;
}

const TensorState* Tensor::find(State state) const {
  const auto found =
      std::ranges::find_if(states, [&](const TensorState& one) { return one.state == state; });
  return found == states.end() ? nullptr : &*found;
}

bool Tensor::in_blocks() const {
  const TensorState* param = find(State::param);
  return param != nullptr && param->type == DType::q8;
}

namespace {

/// An extent with what to call it in a message.
struct Claimed {
  const Extent* extent;
  const Tensor* tensor;
  const TensorState* state;
  [[nodiscard]] Bytes end() const {
    return extent->offset + packed_bytes(state->type, extent->count);
  }
};

std::string about(const Tensor& tensor, const TensorState& state) {
  return "tensor '" + tensor.name + "', " + std::string(name_of(state.state));
}

void check_cover(const std::string& path, const Tensor& tensor, const TensorState& state,
                 bool whole) {
  const auto numel = static_cast<std::uint64_t>(tensor.shape.numel());
  std::uint64_t end = 0;
  for (const Extent& extent : state.extents) {
    const std::string where = path + ": " + about(tensor, state);
    const std::uint64_t room = numel - end;
    if (extent.first < end || extent.first - end > room || extent.count == 0 ||
        extent.count > numel - extent.first)
      throw DataError(where + ": elements from " + std::to_string(extent.first) +
                      " are there twice or outside it");
    if (whole && extent.first != end)
      throw DataError(where + ": elements from " + std::to_string(end) + " are missing");
    const std::uint64_t last = extent.first + extent.count;
    if (extent.first % shard::quantum != 0 || (last % shard::quantum != 0 && last != numel))
      throw DataError(where + ": got a part that does not begin and end between quanta");
    end = last;
  }
  if (whole && end != numel)
    throw DataError(path + ": " + about(tensor, state) + ": elements from " + std::to_string(end) +
                    " are missing");
}

void check_apart(const std::string& path, const Contents& contents) {
  std::vector<std::vector<Claimed>> by_file(contents.files.size());
  for (const Tensor& tensor : contents.tensors) {
    for (const TensorState& state : tensor.states) {
      for (const Extent& extent : state.extents) {
        const Claimed claimed{&extent, &tensor, &state};
        const bool inside = extent.file < contents.files.size() &&
                            extent.offset <= contents.files[extent.file].size &&
                            claimed.end() <= contents.files[extent.file].size;
        if (!inside)
          throw DataError(path + ": " + about(tensor, state) + ": got bytes outside any file");
        by_file[extent.file].push_back(claimed);
      }
    }
  }
  for (std::vector<Claimed>& all : by_file) {
    std::ranges::sort(all, {}, [](const Claimed& c) { return c.extent->offset; });
    for (std::size_t i = 1; i < all.size(); ++i) {
      if (all[i - 1].end() > all[i].extent->offset)
        throw DataError(path + ": " + about(*all[i].tensor, *all[i].state) +
                        ": got bytes that are another's too");
    }
  }
}

}  // namespace

void check(const std::string& path, const Contents& contents, bool whole) {
  std::set<std::string_view> names;
  for (const FileEntry& file : contents.files) {
    if (!names.insert(file.name).second)
      throw DataError(path + ": file '" + file.name + "' is there twice");
    if (file.blocks.size() != ceil_div(file.size, block_bytes))
      throw DataError(path + ": file '" + file.name + "': got " +
                      std::to_string(file.blocks.size()) + " checksums, need one a MiB");
  }
  for (const Tensor& tensor : contents.tensors) {
    for (const TensorState& state : tensor.states) check_cover(path, tensor, state, whole);
  }
  check_apart(path, contents);
}

Contents merged(std::vector<Contents> parts) {
  Contents all;
  std::map<std::string, Tensor> tensors;
  for (Contents& part : parts) {
    const auto base = static_cast<std::uint32_t>(all.files.size());
    for (Tensor& tensor : part.tensors) {
      Tensor& to =
          tensors.try_emplace(tensor.name, Tensor{tensor.name, tensor.shape, {}}).first->second;
      if (to.shape != tensor.shape)
        throw DataError("checkpoint: ranks disagree about the shape of '" + tensor.name + "'");
      for (TensorState& state : tensor.states) {
        auto into = std::ranges::find_if(
            to.states, [&](const TensorState& one) { return one.state == state.state; });
        if (into == to.states.end())
          into = to.states.insert(to.states.end(), {state.state, state.type, {}, {}});
        if (into->type != state.type)
          throw DataError("checkpoint: ranks disagree about the type of '" + tensor.name + "'");
        add(into->digest, state.digest);
        for (Extent extent : state.extents) {
          extent.file += base;
          into->extents.push_back(extent);
        }
      }
    }
    std::ranges::move(part.files, std::back_inserter(all.files));
  }
  for (auto& [name, tensor] : tensors) {
    std::ranges::sort(tensor.states, {}, &TensorState::state);
    for (TensorState& state : tensor.states) std::ranges::sort(state.extents, {}, &Extent::first);
    all.tensors.push_back(std::move(tensor));
  }
  check("checkpoint", all, true);
  return all;
}

}  // namespace sherd::checkpoint
