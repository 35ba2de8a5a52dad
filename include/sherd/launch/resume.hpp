#pragma once
// What a run goes on from, and whether it may.
#include <memory>
#include <string>
#include <vector>

#include "sherd/checkpoint/checkpoint.hpp"
#include "sherd/checkpoint/store.hpp"
#include "sherd/launch/job.hpp"

namespace sherd::launch {

/// The supervisor's part, before any rank starts: enters the folder of `--save`, and finds what
/// `--resume` means. Verifies what `latest` finds, newest first, and warns of each it passes over.
///
/// **Errors** ConfigError: `--save` is another run's; DataError: `--resume` is damaged or not
/// there, or of `latest` none is good though there are some.
class Continuation {
 public:
  explicit Continuation(const Validated& run);

  /// The checkpoint's folder; empty: the run starts anew.
  [[nodiscard]] const std::string& folder() const { return folder_; }

 private:
  void find_latest(const std::string& root);
  void require_own(const Validated& run) const;

  std::optional<checkpoint::Store> store_;  // held while the ranks run
  std::string folder_;
};

/// What a checkpoint tells of the run that made it, for one that goes on.
struct Origin {
  std::string model, data;
  std::map<std::string, std::string> settings;  // flags that shape training
};
[[nodiscard]] Origin origin_of(const Validated& run, const Job& job);

/// Throws DataError when the checkpoint is of another model or other data. Returns what else
/// changed, one flag each: "--lr 0.0003 -> 0.0001".
[[nodiscard]] std::vector<std::string> changes(const checkpoint::Checkpoint& from,
                                               const Origin& now);

}  // namespace sherd::launch
