#pragma once
#include <ATen/core/Tensor.h>

#include <array>
#include <cstdint>
#include <string>
#include <vector>

/// A simulated rolling bearing: what an accelerometer, a thermal camera and the maintenance log
/// would hold of it. Everything is synthetic: the kinematics, impacts and heat follow textbook
/// formulas, their sizes are chosen so that no stream tells the state of every item.
namespace plait::data {

/// A deep groove ball bearing; the defaults are those of type 6205.
struct BearingGeometry {
  int64_t balls = 9;
  double ball_mm = 7.94;    ///< Diameter d of a ball
  double pitch_mm = 39.04;  ///< Diameter D of the circle of their centres
  double contact_rad = 0;   ///< Contact angle φ
};

/// How often a point defect is passed, in multiples of the shaft's speed.
struct FaultOrders {
  double outer;  ///< BPFO = n/2 (1 − d/D cos φ): a ball passes a point of the outer race
  double inner;  ///< BPFI = n/2 (1 + d/D cos φ): of the inner race
  double ball;   ///< BSF = D/(2d) (1 − (d/D cos φ)²): a ball turns once and hits both races
  double cage;   ///< FTF = 1/2 (1 − d/D cos φ): the cage turns
};

/// The kinematics of rolling without slip: Randall and Antoni, "Rolling element bearing
/// diagnostics: a tutorial", Mechanical Systems and Signal Processing 25 (2011), section 2.
FaultOrders fault_orders(const BearingGeometry& geometry);

enum class BearingState { kHealthy, kInnerRace, kOuterRace, kBall, kLubrication };
inline constexpr int64_t kBearingStates = 5;
/// "healthy", "inner_race", "outer_race", "ball", "lubrication".
std::string to_string(BearingState state);

struct Range {
  double low, high;
};

/// What differs between two machines with the same type of bearing.
struct BearingMachine {
  Range shaft_hz = {25, 33};
  Range load_n = {500, 1500};                         ///< Radial
  std::array<double, 2> resonance_hz = {2300, 3400};  ///< Modes that impacts excite
  std::array<double, 2> damping = {0.035, 0.025};     ///< Of critical
  double noise_g = 0.30;                              ///< Deviation of the broadband noise
  double noise_colour = 0.55;  ///< First-order autoregression of the noise: 0 is white
  std::array<double, 3> shaft_g = {0.25, 0.15, 0.08};  ///< Amplitudes at 1, 2, 3 turns
  Range ambient_c = {14, 28};
  double convection = 14;  ///< W/(m² K) from the housing to the air

  /// Slower, heavier loaded, other modes, warmer hall: other readings that mean no damage.
  static BearingMachine shifted();
};

struct BearingConfig {
  int64_t items = 1500;  ///< The states take turns
  uint64_t seed = 6205;
  BearingGeometry geometry = {};
  BearingMachine machine = {};

  double sample_rate_hz = 8192;
  int64_t samples = 8192;      ///< Of the vibration, one second
  double slip = 0.01;          ///< Deviation of the time between two impacts, in such times
  Range defect = {0.15, 1.0};  ///< Size, 1 = fully grown; drawn uniformly in its logarithm
  double impact_g = 2.2;       ///< Of a fully grown defect at 29 Hz and 1,000 N
  double shocks_hz = 4;        ///< Blows from elsewhere, whatever the state

  int64_t rows = 48, columns = 64;  ///< Of the thermal picture, `pixel_mm` wide each
  double pixel_mm = 3;
  double conductance = 0.15;     ///< W/K: conductivity of the housing times its thickness
  double viscosity_mm2_s = 20;   ///< Of the base oil at running temperature
  double friction_spread = 0.2;  ///< Deviation of ln(friction): grease fill, seals
  double camera_noise_k = 0.12;
  Range camera_c = {10, 70};  ///< Temperatures of grey values 0 and 255

  double silent_notes = 0.22;      ///< Share of log entries that say nothing of the state,
  double misleading_notes = 0.10;  ///< that sound like another state,
  double typing_errors = 0.02;     ///< and of letters that are mistyped
};

struct BearingItem {
  BearingState state = BearingState::kHealthy;
  double shaft_hz = 0;  ///< As the drive reports it, within 0.2 %
  double load_n = 0;
  double defect = 0;     ///< 0 when healthy
  at::Tensor vibration;  ///< float32 [T, 1] in g
  at::Tensor thermal;    ///< uint8 [H, W, 3], grey: front view of the housing, shaft in the middle
  std::string log;       ///< One to three English sentences
};

/// The items, the same for the same config (an item depends on its number, not on how many there
/// are).
///
/// Vibration: every defect gives a train of impacts at its fault frequency whose distances slip at
/// random (Antoni and Randall 2003); each is a decaying oscillation of the housing's two modes,
/// weighed by the load where the defect is (Stribeck's distribution over half of the race: fixed
/// for the outer race, once a turn for the inner one, once a turn of the cage for a ball; McFadden
/// and Smith 1984). Lack of lubricant gives irregular contacts of the surfaces and more noise. To
/// these come the shaft's harmonics, coloured noise and blows from elsewhere.
///
/// Thermal: friction torque after Palmgren, M = 1e-7 f0 (νn)^(2/3) D³ + f1 P D in N mm (n in 1/min,
/// P in N, D in mm), heat 1.05e-4 M n in W; a defect adds friction where it is, lack of lubricant
/// everywhere. The housing is a plate that conducts and cools by its surface (fin equation, solved
/// on the picture's grid), seen by a camera of limited resolution while it warms up.
/// @throws Error kInvalidArgument for sizes below 1, or a config without a positive rate.
std::vector<BearingItem> simulate_bearing(const BearingConfig& config);

}  // namespace plait::data
