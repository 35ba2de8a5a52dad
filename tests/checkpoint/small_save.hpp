#pragma once
// A save of three ranks, small and whole: the writers, parts and publication that a run uses.
#include <future>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <tuple>
#include <vector>

#include "io/aligned_bytes.hpp"
#include "sherd/base/errors.hpp"
#include "sherd/checkpoint/checkpoint.hpp"
#include "sherd/checkpoint/file_writer.hpp"
#include "sherd/checkpoint/store.hpp"
#include "support/memory_storage.hpp"

namespace sherd::test {

using checkpoint::State;

inline constexpr int ranks = 3;
struct Kept {
  State state = State::param;
  DType type = DType::f32;
};
inline constexpr Kept kept[] = {
    {State::param, DType::f32}, {State::moment1, DType::q8}, {State::moment2, DType::bf16}};
inline const std::vector<std::string> tensor_names{"block.weight", "head"};
inline constexpr std::uint64_t numels[] = {1000, 900};
struct Part {
  std::size_t tensor = 0;
  std::uint64_t first = 0, count = 0;
};
/// What each rank owns; the second has the end of a tensor and the beginning of another.
inline const std::vector<Part> owned[ranks] = {
    {{0, 0, 512}}, {{0, 512, 488}, {1, 0, 256}}, {{1, 256, 644}}};

/// All of a tensor's state as the run of `seed` leaves it, packed.
inline const FileBytes& value(std::size_t tensor, const Kept& one, std::uint64_t seed) {
  static std::mutex mutex;
  static std::map<std::tuple<std::size_t, State, std::uint64_t>, FileBytes> all;
  const std::scoped_lock lock(mutex);
  FileBytes& bytes = all[{tensor, one.state, seed}];
  if (!bytes.empty()) return bytes;
  bytes.resize(checkpoint::packed_bytes(one.type, numels[tensor]));
  std::uint64_t state = seed * 977 + tensor * 31 + static_cast<std::uint64_t>(one.state);
  for (std::byte& byte : bytes) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    byte = static_cast<std::byte>(state >> 56);
  }
  return bytes;
}

inline checkpoint::FileImage image_of(Rank rank) {
  checkpoint::FileImage image{"rank-00" + std::to_string(rank) + ".bin", tensor_names, {}, {}};
  for (const std::uint64_t numel : numels)
    image.shapes.push_back({4, static_cast<std::int64_t>(numel / 4)});
  for (const Kept& one : kept) {
    for (const Part& part : owned[rank])
      image.pieces.push_back({part.tensor, one.state, one.type, part.first, part.count});
  }
  return image;
}

/// One rank's writer, with all of its file in memory.
class SmallWriter {
 public:
  SmallWriter(io::Storage& storage, Rank rank)
      : rank_(rank),
        image_(image_of(rank)),
        ring_(round_up(image_.bytes(), io::direct_block)),
        writer_(storage, ring_.span(), image_) {}

  /// Puts all there is; the future has what is wrong, or nothing.
  std::future<std::string> save(const checkpoint::Store& store, const std::string& draft,
                                std::uint64_t seed) {
    const auto done = std::make_shared<std::promise<std::string>>();
    const auto own = std::make_shared<checkpoint::Store>(store.storage(), store.root());
    writer_.start(draft, [=, this](const checkpoint::FileWriter& writer) {
      std::string problem = writer.problem();
      try {
        if (problem.empty()) own->put_part(draft, rank_, writer.contents());
      } catch (const std::exception& error) {
        problem = error.what();
      }
      done->set_value(problem);
    });
    std::byte* to = ring_.span().data();
    for (const Kept& one : kept) {
      for (const Part& part : owned[rank_]) {
        const FileBytes& all = value(part.tensor, one, seed);
        const Bytes size = checkpoint::packed_bytes(one.type, part.count);
        std::memcpy(to, all.data() + checkpoint::packed_bytes(one.type, part.first), size);
        to += size;
      }
    }
    writer_.filled(image_.bytes());
    return done->get_future();
  }

 private:
  Rank rank_;
  checkpoint::FileImage image_;
  AlignedBytes ring_;
  checkpoint::FileWriter writer_;
};

inline checkpoint::Manifest manifest_of(std::uint64_t step, std::uint64_t seed) {
  checkpoint::Manifest manifest;
  manifest.run = "0123456789abcdef0123456789abcdef";
  manifest.library = "1.0";
  manifest.world = ranks;
  manifest.progress.step = manifest.progress.applied = step;
  manifest.model = "model";
  manifest.data = "data";
  manifest.numerics_key = "key";
  manifest.start_weights = seed;
  manifest.settings["--lr"] = "0.1";
  return manifest;
}

/// Saves as a run does and returns the folder. **Errors** DataError; the draft is then gone, or
/// left to the next run.
inline std::string save(checkpoint::Store& store, std::uint64_t step, std::uint64_t seed,
                        std::uint64_t attempt = 1) {
  const std::string draft = store.draft(step, attempt);
  std::string problem;
  {
    std::vector<std::unique_ptr<SmallWriter>> writers;
    std::vector<std::future<std::string>> ends;
    for (Rank rank = 0; rank < ranks; ++rank) {
      writers.push_back(std::make_unique<SmallWriter>(store.storage(), rank));
      ends.push_back(writers.back()->save(store, draft, seed));
    }
    for (std::future<std::string>& end : ends) {
      const std::string said = end.get();
      if (problem.empty()) problem = said;
    }
  }
  try {
    if (!problem.empty()) throw DataError(problem);
    Bytes bytes = 0;
    return store.publish(draft, manifest_of(step, seed), bytes);
  } catch (const DataError&) {
    store.discard(draft);
    throw;
  }
}

/// The seed of the state it holds; nothing where a byte of it is another's.
inline std::optional<std::uint64_t> seed_of(const checkpoint::Checkpoint& checkpoint) {
  const std::uint64_t seed = checkpoint.manifest().start_weights;
  for (std::size_t t = 0; t < tensor_names.size(); ++t) {
    const checkpoint::Tensor* tensor = checkpoint.find(tensor_names[t]);
    if (tensor == nullptr || tensor->states.size() != std::size(kept)) return {};
    for (const Kept& one : kept) {
      FileBytes bytes(checkpoint::packed_bytes(one.type, numels[t]));
      checkpoint.read(*tensor, one.state, 0, numels[t], bytes);
      if (bytes != value(t, one, seed)) return {};
    }
  }
  return seed;
}

}  // namespace sherd::test
