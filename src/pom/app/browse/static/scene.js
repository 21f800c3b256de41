// The surfaces of a tomogram in three dimensions. Lengths are nm; x goes to the right, y away, z upwards.
import { ask } from './viewer.js';

const FIELD_OF_VIEW = 26;
const FILLED = 0.94; // so much of the stage's width or height the box takes up
const STEP = Math.PI / 36; // of an arrow key

export class MeshView {
  /** stage: the element; box: the size of the tomogram in nm, perhaps of no length; say: as of the slices. */
  constructor(stage, box, { say }) {
    this.stage = stage;
    this.canvas = stage.querySelector('canvas');
    this.box = box;
    this.say = say;
    this.meshes = new Map();
    this.wanted = new Set();
  }

  async open() {
    const { THREE, OrbitControls, GLTFLoader } = await import(this.stage.dataset.three);
    this.three = THREE;
    this.loader = new GLTFLoader();
    this.renderer = new THREE.WebGLRenderer({ canvas: this.canvas, antialias: true, alpha: true });
    this.scene = new THREE.Scene();
    this.camera = new THREE.PerspectiveCamera(FIELD_OF_VIEW, 1, 1, 1e5);
    this.camera.up.set(0, 0, 1);
    this.scene.add(this.camera, new THREE.HemisphereLight(0xffffff, 0x667080, 1.5));
    const light = new THREE.DirectionalLight(0xffffff, 2);
    light.position.set(-0.55, 0.65, 1);
    this.camera.add(light);
    this.controls = new OrbitControls(this.camera, this.canvas);
    this.controls.addEventListener('change', () => this.invalidate());
    if (this.box.length) this.frame();
    this.listen();
    this.front();
  }

  /** The edges of the tomogram. */
  frame() {
    const { BoxGeometry, EdgesGeometry, LineSegments, LineBasicMaterial, Vector3 } = this.three;
    const size = new Vector3(...this.box);
    const edges = new LineSegments(new EdgesGeometry(new BoxGeometry(...this.box)), new LineBasicMaterial({ color: 0x6a6f78 }));
    edges.position.copy(size.multiplyScalar(0.5));
    this.scene.add(edges);
  }

  listen() {
    new ResizeObserver(() => this.invalidate()).observe(this.canvas);
    this.stage.addEventListener('keydown', (event) => this.key(event));
  }

  /** Shows a feature's surface, which is fetched the first time. */
  async show(title, address, level) {
    this.wanted.add(title);
    if (!this.meshes.has(title)) {
      this.meshes.set(title, null);
      try {
        const answer = await ask(address);
        if (answer.status === 204) this.say(title, `nothing of it is above its level, ${level}, so there is no surface.`);
        else this.add(title, await this.loader.parseAsync(await answer.arrayBuffer(), ''));
      } catch (error) {
        this.meshes.delete(title);
        this.say(title, error.message);
      }
    }
    this.update();
  }

  hide(title) {
    this.wanted.delete(title);
    this.say(title, '');
    this.update();
  }

  add(title, { scene }) {
    const { MeshPhongMaterial, DoubleSide, FrontSide } = this.three;
    scene.traverse((mesh) => {
      if (!mesh.isMesh) return;
      const { color, opacity } = mesh.material;
      const clear = opacity < 1;
      mesh.material = new MeshPhongMaterial({ color, opacity, transparent: clear, shininess: 22, specular: 0x2a2a2a, side: clear ? FrontSide : DoubleSide });
      mesh.renderOrder = clear ? 1 : 0;
    });
    this.meshes.set(title, scene);
    this.scene.add(scene);
    if (!this.box.length) this.measure();
  }

  /** Where the tomogram itself is not there, the surfaces say how large the box is. */
  measure() {
    const { Box3, Vector3 } = this.three;
    const box = new Box3();
    for (const mesh of this.meshes.values()) if (mesh) box.expandByObject(mesh);
    this.centre = box.getCenter(new Vector3());
    this.size = box.getSize(new Vector3());
    this.front();
  }

  update() {
    for (const [title, mesh] of this.meshes) if (mesh) mesh.visible = this.wanted.has(title);
    const shown = [...this.meshes].filter(([, mesh]) => mesh?.visible).map(([title]) => title);
    this.stage.dataset.shown = JSON.stringify(shown);
    this.invalidate();
  }

  /** The slice of the other stage as a plane; null: none. */
  plane(picture, z, nm) {
    const { PlaneGeometry, MeshBasicMaterial, Mesh, CanvasTexture, DoubleSide, SRGBColorSpace } = this.three;
    if (this.sheet) this.sheet.visible = Boolean(picture);
    if (!picture) return this.invalidate();
    if (!this.sheet) {
      const map = new CanvasTexture(picture);
      map.flipY = false; // its first row is y = 0
      map.colorSpace = SRGBColorSpace;
      map.generateMipmaps = false;
      map.minFilter = map.magFilter;
      const [width, height] = [picture.width * nm, picture.height * nm];
      this.sheet = new Mesh(new PlaneGeometry(width, height), new MeshBasicMaterial({ map, side: DoubleSide }));
      this.sheet.position.set(width / 2, height / 2, 0);
      this.scene.add(this.sheet);
    }
    this.sheet.material.map.needsUpdate = true;
    this.sheet.position.z = (z + 0.5) * nm;
    this.invalidate();
  }

  /** From where the pictures look, and near enough that the box fills the stage. */
  front() {
    const { Vector3, MathUtils } = this.three;
    const [pitch, yaw] = [this.stage.dataset.pitch, this.stage.dataset.yaw].map((angle) => MathUtils.degToRad(Number(angle)));
    const out = new Vector3(Math.cos(pitch) * Math.sin(yaw), Math.sin(pitch), -Math.cos(pitch) * Math.cos(yaw));
    if (Math.hypot(out.x, out.y) < 0.01) out.y = -0.01; // straight from above it could hang any way round
    const size = this.size ?? new Vector3(...(this.box.length ? this.box : [1, 1, 1]));
    const centre = this.centre ?? size.clone().multiplyScalar(0.5);
    this.camera.aspect = this.canvas.clientWidth / Math.max(this.canvas.clientHeight, 1);
    const distance = this.distance(out.normalize(), size);
    this.camera.near = distance / 100;
    this.camera.far = distance * 20;
    this.camera.updateProjectionMatrix();
    this.camera.position.copy(centre).addScaledVector(out, distance);
    this.controls.target.copy(centre);
    this.controls.update();
    this.position = this.camera.position.clone();
    this.invalidate();
  }

  /** From how far, in the direction `out`, all corners of a box are on the stage. */
  distance(out, size) {
    const { Vector3, MathUtils } = this.three;
    const half = FILLED * Math.tan(MathUtils.degToRad(FIELD_OF_VIEW / 2));
    const right = this.camera.up.clone().cross(out).normalize();
    const up = out.clone().cross(right);
    let most = 0;
    for (const x of [-0.5, 0.5]) for (const y of [-0.5, 0.5]) for (const z of [-0.5, 0.5]) {
      const corner = new Vector3(x, y, z).multiply(size);
      const aside = Math.max(Math.abs(corner.dot(up)), Math.abs(corner.dot(right)) / this.camera.aspect);
      most = Math.max(most, aside / half + corner.dot(out));
    }
    return most;
  }

  invalidate() {
    this.waiting ??= requestAnimationFrame(() => this.draw());
  }

  draw() {
    this.waiting = null;
    const { clientWidth: width, clientHeight: height } = this.canvas;
    if (!width || !height) return;
    this.renderer.setPixelRatio(Math.min(devicePixelRatio, 2));
    this.renderer.setSize(width, height, false);
    const aspect = width / height;
    if (aspect !== this.camera.aspect) {
      if (this.position.equals(this.camera.position)) this.front(); // nobody has turned it
      this.camera.aspect = aspect;
      this.camera.updateProjectionMatrix();
    }
    this.renderer.render(this.scene, this.camera);
    this.stage.dataset.drawn = Number(this.stage.dataset.drawn ?? 0) + 1;
  }

  key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const turns = { ArrowLeft: [STEP, 0], ArrowRight: [-STEP, 0], ArrowUp: [0, STEP], ArrowDown: [0, -STEP] };
    const zooms = { '+': 0.85, '=': 0.85, '-': 1.18 };
    if (event.key in turns) this.turn(...turns[event.key]);
    else if (event.key in zooms) this.closer(zooms[event.key]);
    else if (event.key === '0') this.front();
    else return;
    event.preventDefault();
  }

  turn(round, over) {
    const { Spherical, Vector3, Quaternion } = this.three;
    const upright = new Quaternion().setFromUnitVectors(this.camera.up, new Vector3(0, 1, 0));
    const offset = this.camera.position.clone().sub(this.controls.target).applyQuaternion(upright);
    const place = new Spherical().setFromVector3(offset);
    place.theta += round;
    place.phi = Math.min(Math.max(place.phi + over, 0.001), Math.PI - 0.001);
    offset.setFromSpherical(place).applyQuaternion(upright.invert());
    this.camera.position.copy(this.controls.target).add(offset);
    this.controls.update();
  }

  closer(factor) {
    const { target } = this.controls;
    this.camera.position.sub(target).multiplyScalar(factor).add(target);
    this.controls.update();
  }
}
