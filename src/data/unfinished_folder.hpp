#pragma once
// A folder that is worked on under a hidden name.
#include <optional>
#include <string>
#include <vector>

#include "data/manifest.hpp"

namespace sherd::data {

/// `.<name>.unfinished` beside the folder it becomes; held by one run at a time.
///
/// **Errors** DataError naming the folder: another run at work on it, or calls that fail.
class UnfinishedFolder {
 public:
  /// Makes it where it is missing. `target` may be an empty folder.
  explicit UnfinishedFolder(const std::string& target);
  UnfinishedFolder(const UnfinishedFolder&) = delete;
  UnfinishedFolder& operator=(const UnfinishedFolder&) = delete;
  ~UnfinishedFolder();

  [[nodiscard]] const std::string& path() const { return path_; }
  /// What an earlier run noted for the same request, without shards that are not as it noted.
  [[nodiscard]] std::optional<Manifest> left_behind(const std::string& request) const;
  /// Removes all but the files of `kept`.
  void begin(const std::vector<Shard>& kept) const;
  /// Notes what is finished; durable on return.
  void note(const std::string& manifest) const;
  /// Gives it the target's name, with this manifest.
  void publish(const std::string& manifest);

 private:
  std::string target_, path_;
  int lock_ = -1;
};

}  // namespace sherd::data
