#pragma once
// A cheap identity of file content.
#include <cstdint>
#include <memory>
#include <span>

#include "sherd/io/file.hpp"

namespace sherd::data {

/// XXH64 over numbers and files, in the order given.
///
/// Of a file it takes the size, the first and last MiB and 64 blocks of 4 KiB at equal distances
/// (all of it up to 2 MiB): an edit elsewhere in a large file that keeps the size goes unseen.
class Fingerprint {
 public:
  Fingerprint();
  Fingerprint(const Fingerprint&) = delete;
  Fingerprint& operator=(const Fingerprint&) = delete;
  ~Fingerprint();

  void add(std::uint64_t number);
  void add(const io::File& file);
  void add(std::span<const std::byte> bytes);
  [[nodiscard]] std::uint64_t value() const;

 private:
  void add_range(const io::File& file, Bytes first, Bytes size);

  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace sherd::data
