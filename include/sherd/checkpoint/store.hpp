#pragma once
// The folder a run saves into. A checkpoint in it is visible only when it is complete and synced.
#include <optional>
#include <string>
#include <vector>

#include "sherd/checkpoint/manifest.hpp"
#include "sherd/io/storage.hpp"

namespace sherd::checkpoint {

/// A visible folder.
struct Found {
  std::uint64_t step = 0;
  std::string folder;  // its path
};
/// Folders in `root` named as complete checkpoints are, newest first; none where there is no root.
///
/// **Errors** DataError when it cannot be read.
[[nodiscard]] std::vector<Found> list(io::Storage& storage, const std::string& root);
/// "step-000000000120"
[[nodiscard]] std::string folder_name(std::uint64_t step);

class Store {
 public:
  Store(io::Storage& storage, std::string root);

  /// Makes the folder if need be, holds it while this lives, and removes what dead runs left in it.
  ///
  /// **Errors** ConfigError when another run holds it, or it cannot be used.
  void enter();

  /// Where ranks put their files: hidden, and another one at each attempt.
  [[nodiscard]] std::string draft(std::uint64_t step, std::uint64_t attempt) const;
  /// A rank's part, for the one who publishes.
  void put_part(const std::string& draft, Rank rank, const Contents& part);
  /// Merges the parts into the manifest, syncs, and renames the draft: it is a checkpoint then.
  /// Takes the place of one of the same step. Returns its path; `bytes` becomes its size.
  /// **Errors** DataError; the draft is then still one.
  [[nodiscard]] std::string publish(const std::string& draft, Manifest manifest, Bytes& bytes);
  /// Removes a folder and what is in it: first out of sight, then for good.
  void remove(const std::string& folder);
  /// The same, or leaves it to the next run that enters.
  void discard(const std::string& folder) noexcept;
  /// Of those up to `step`, which was published last, removes all but the newest `count`, at least
  /// one.
  void keep(std::size_t count, std::uint64_t step);

  [[nodiscard]] const std::string& root() const { return root_; }
  [[nodiscard]] io::Storage& storage() const { return storage_; }

 private:
  [[nodiscard]] std::vector<std::string> names(const std::string& folder) const;
  void make_root() const;
  /// Returns where what `folder` was is now; empty: it was not.
  [[nodiscard]] std::string appear(const std::string& draft, const std::string& folder);
  /// Returns where a visible folder is now, out of sight.
  [[nodiscard]] std::string aside(const std::string& folder);

  io::Storage& storage_;
  std::string root_;
  io::Stored held_;
};

}  // namespace sherd::checkpoint
