#pragma once
// What a checkpoint holds and where: by parameters and their elements, whatever the world was.
#include <array>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "sherd/base/dtype.hpp"
#include "sherd/base/units.hpp"
#include "sherd/base/view.hpp"
#include "sherd/shard/packed.hpp"

namespace sherd::checkpoint {

using shard::packed_bytes;

inline constexpr Bytes block_bytes = mib;  // of a file, under one checksum
inline constexpr char manifest_name[] = "manifest.json";

/// What is kept of a parameter. Its weights are `param` as fp32, or `master` as fp32, or both as
/// bf16 and what that leaves of fp32 (u16); of a frozen one `param` alone, perhaps as q8.
enum class State : std::uint8_t { param, master, moment1, moment2 };
inline constexpr std::size_t states = 4;
[[nodiscard]] std::string_view name_of(State state);

/// A sum over quanta of 256 elements, so that any cut of a tensor comes to the same.
using Digest = std::array<std::uint64_t, 2>;
/// XXH3-128 of each quantum's bytes, seeded by its number in the tensor, added up by halves.
/// `first` is the number of the first quantum; `bytes` are of `count` elements from there on.
[[nodiscard]] Digest digest_of(DType type, std::uint64_t first, std::uint64_t count,
                               const std::byte* bytes);
constexpr void add(Digest& to, const Digest& more) {
  to[0] += more[0];
  to[1] += more[1];
}

struct Extent {
  std::uint32_t file = 0;
  Bytes offset = 0;  // in the file
  std::uint64_t first = 0, count = 0;
};
struct TensorState {
  State state = State::param;
  DType type = DType::f32;
  Digest digest{};
  std::vector<Extent> extents;  // by first
};
struct Tensor {
  std::string name;
  Shape shape{};
  std::vector<TensorState> states;  // by state

  [[nodiscard]] const TensorState* find(State state) const;
  /// Are its weights 8-bit blocks? Frozen ones may be.
  [[nodiscard]] bool in_blocks() const;
};
struct FileEntry {
  std::string name;
  Bytes size = 0;
  std::vector<std::uint32_t> blocks;  // CRC32C of each `block_bytes`
};

/// Files and what of which tensor is in them: all of it, or one rank's part.
struct Contents {
  std::vector<FileEntry> files;
  std::vector<Tensor> tensors;  // by name
};

/// The state of the optimizer loop between two steps.
struct Progress {
  float scale = 1;
  std::uint32_t good = 0, hysteresis = 0, skipped_in_row = 0;
  std::uint64_t step = 0, applied = 0;
  bool operator==(const Progress&) const = default;
};

struct Manifest {
  std::string run;      // that saved it; 32 hex digits
  std::string library;  // version
  int world = 1;
  Progress progress{};
  std::string model;  // canonical description
  std::string data;   // fingerprint
  std::string numerics_key;
  std::uint64_t start_weights = 0;              // fingerprint of what the run started from
  std::map<std::string, std::string> settings;  // flags that shape training, by name
  Contents contents;
};

/// One JSON object whose last member is the CRC32C of the first.
[[nodiscard]] std::string to_text(const Manifest& manifest);
[[nodiscard]] std::string to_text(const Contents& part);

/// **Errors** DataError naming `path` and what is wrong: any altered bit, an unknown version, an
/// extent outside its file, over another or a gap, a number out of range.
[[nodiscard]] Manifest parse_manifest(const std::string& path, std::string_view text);
/// The same for a part, which may leave gaps.
[[nodiscard]] Contents parse_part(const std::string& path, std::string_view text);

/// One checkpoint of the parts of all ranks.
///
/// **Errors** DataError naming a tensor of which elements are missing or there twice.
[[nodiscard]] Contents merged(std::vector<Contents> parts);
/// Throws DataError unless extents are inside their files, apart, and (`whole`) cover every tensor.
void check(const std::string& path, const Contents& contents, bool whole);

}  // namespace sherd::checkpoint
